"""A real browser for tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from bootstrap.browser import find_browser

ARGUMENTS = (
    # Only this machine's addresses exist.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
)
LOCAL = ("data:", "blob:")
"""Schemes of requests that leave no browser."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running headless Chromium: the one on PATH.

    While it runs, this thread has a running event loop: async tests have to wait until it is closed.
    """
    # Chromium's sandbox does not work for root.
    arguments = [*ARGUMENTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What a page did that it must not do.

    Attributes:
        origin: scheme, host and port of the only allowed address.
        expected: patterns of errors in the console that the test provokes.
        problems: requests to other addresses, errors in the console, and uncaught exceptions.
    """

    origin: str
    expected: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def expect(self, pattern: str) -> None:
        """Allows errors in the console that match the pattern."""
        self.expected.append(pattern)

    def on_request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", *LOCAL)):
            self.problems.append(f"request to {request.url}")

    def on_console(self, message: ConsoleMessage) -> None:
        # Violations of the content security policy are errors too.
        if message.type == "error" and not any(re.search(each, message.text) for each in self.expected):
            self.problems.append(f"console: {message.text}")

    def on_exception(self, error: Exception) -> None:
        self.problems.append(f"exception: {error}")

    def follow(self, context: BrowserContext) -> None:
        """Watches all pages of a context."""
        context.on("request", self.on_request)
        context.on("console", self.on_console)
        context.on("weberror", lambda event: self.on_exception(event.error))


@contextlib.contextmanager
def watched_page(browser: Browser, origin: str, **options: object) -> Iterator[tuple[Page, Watch]]:
    """An empty page whose paths are of this origin. Fails the test if the page does what Watch records.

    Args:
        origin: e.g. `http://127.0.0.1:8602`.
        options: of `Browser.new_context`, e.g. `color_scheme="dark"`.
    """
    watch = Watch(origin)
    context = browser.new_context(base_url=origin, **options)  # type: ignore[arg-type]
    try:
        watch.follow(context)
        yield context.new_page(), watch
    finally:
        context.close()
    if watch.problems:
        raise AssertionError("the page did what it must not do: " + "; ".join(watch.problems))
