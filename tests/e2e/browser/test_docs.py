"""The page at /docs in a real browser: it shows the API, calls it, and loads nothing from elsewhere."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, expect

from testing.browser import watched_page
from testing.service import Service

WAIT_MS = 30_000


@pytest.mark.slow
def test_a_developer_reads_about_a_method_and_tries_it(browser: Browser, live: Service) -> None:
    expect.set_options(timeout=WAIT_MS)
    with watched_page(browser, live.api) as (page, _):
        page.goto("/docs")
        method = page.locator("#operations-ClipService-ClipService_Embed")
        expect(method).to_contain_text("Embeds any mix of images and texts")
        method.get_by_role("button").first.click()
        method.get_by_role("button", name="Try it out").click()
        expect(method.locator("textarea")).to_have_value(re.compile('"text": "a photo of a dog"'))
        method.get_by_role("button", name="Execute").click()
        answer = method.locator(".live-responses-table")
        expect(answer.locator(".response-col_status").last).to_contain_text("200")
        expect(answer).to_contain_text("fingerprint")
