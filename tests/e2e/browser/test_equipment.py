"""The watch over a page sees what a page must not do."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from testing.axe import grave_findings
from testing.browser import watched_page

POLICY = "default-src 'none'; script-src 'self'; img-src *"
PAGES = {
    "/": "<!doctype html><title>quiet</title><p>Nothing else.</p>",
    "/bad": """<!doctype html><title>bad</title><img src='http://127.0.0.1:9/x.png'>
        <script>document.title = 'run'</script>
        <script src='/none.js'></script><script src='/throws.js'></script>""",
    "/unlabelled": "<!doctype html><html lang='en'><title>unlabelled</title><main><input></main>",
    "/throws.js": "throw new Error('by the page')",
    "/favicon.ico": "",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = PAGES.get(self.path)
        kind = "text/javascript" if self.path.endswith(".js") else "text/html"
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write((content or "").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_quiet_page_passes(browser: Browser, site: str) -> None:
    with watched_page(browser, site) as (page, _):
        page.goto("/")
        assert page.title() == "quiet"


def visit_bad_page(browser: Browser, site: str) -> None:
    with watched_page(browser, site) as (page, watch):
        watch.expect("ERR_CONNECTION_REFUSED|ERR_UNSAFE_PORT")
        page.goto("/bad", wait_until="networkidle")
        assert page.title() == "bad"


def test_what_a_page_must_not_do_fails_the_test_unless_it_is_expected(browser: Browser, site: str) -> None:
    with pytest.raises(AssertionError) as failure:
        visit_bad_page(browser, site)
    problems = str(failure.value)
    assert "request to http://127.0.0.1:9/x.png" in problems
    assert "Content Security Policy" in problems
    assert "status of 404" in problems
    assert "exception: by the page" in problems
    assert "ERR_" not in problems


@pytest.mark.slow
def test_axe_finds_what_people_with_disabilities_cannot_use(browser: Browser, site: str) -> None:
    with watched_page(browser, site) as (page, _):
        page.goto("/unlabelled")
        (finding,) = grave_findings(page)
    assert finding.startswith("label (critical): ")
