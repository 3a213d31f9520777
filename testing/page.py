"""The page in a browser, as people use it."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import Page, expect

from testing.service import ROOT

PHOTOS = ROOT / "demo" / "photos"
PICTURES = ROOT / "demo" / "pictures"
DROP = """([files]) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    data.items.add(new File([bytes], name));
  }
  for (const kind of ["dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
SLOW = 60_000
"""Milliseconds that a call may take on a busy machine."""
PASTE = DROP.partition("for (const kind")[0] + (
    "dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })); }"
)
FOCUSED = """() => {
  const element = document.activeElement;
  const label = element.labels?.[0]?.textContent ?? "";
  return [element.getAttribute("aria-label") ?? "", element.querySelector?.("img")?.alt ?? "", label,
    element.textContent].map((text) => text.trim()).filter(Boolean)[0] ?? "";
}"""


def opened(page: Page, view: str = "classify") -> Page:
    """The page with a ready server."""
    page.goto(f"/#{view}")
    expect(page.locator("#server")).to_have_text("demo is ready", timeout=SLOW)
    expect(page.locator(f"#{view} h1")).to_be_visible()
    return page


def drop(page: Page, *paths: Path, script: str = DROP) -> None:
    """Drops files on the page, or pastes them."""
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(script, [files])


def classified(page: Page, count: int = 1) -> list[list[str]]:
    """The cells of the best label of each picture, once all are there."""
    expect(page.locator("#classify-results tr.best")).to_have_count(count, timeout=SLOW)
    return [
        row.locator("th, td").all_inner_texts() for row in page.locator("#classify-results tr.best").all()
    ]


def searched(page: Page) -> list[str]:
    """Ids of the hits, once their pictures are there too."""
    results = page.locator("#search-results")
    expect(results).to_have_attribute("aria-busy", "false", timeout=SLOW)
    expect(results.locator("h2")).to_be_visible()
    return [
        str(tile.get_attribute("data-id")) for tile in results.locator(".grid > li > figure > .thumb").all()
    ]


def tab_to(page: Page, name: str, steps: int = 60) -> None:
    """Presses Tab until the element of this name has the focus."""
    seen = []
    for _ in range(steps):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if seen[-1].startswith(name):
            return
    raise AssertionError(f"Tab never leads to {name!r}: {seen}")
