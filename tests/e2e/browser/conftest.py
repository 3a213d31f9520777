"""One browser for the tests of a module. Without Chromium, all tests of this folder are skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from bootstrap.browser import find_browser
from testing.browser import chromium

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """A mark gives one line for each module; a skip in the fixture would give one for each test."""
    if not find_browser():
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="no Chromium; `make browser` installs it"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. It is closed with the module, because async tests cannot run beside it."""
    with chromium() as browser:
        yield browser
