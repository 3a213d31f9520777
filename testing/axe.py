"""axe-core's findings on a page: what keeps people with a screen reader or without a mouse from using it."""

from __future__ import annotations

from playwright.sync_api import Page

from testing.javascript import packages

GRAVE = ("serious", "critical")
RUN = "() => axe.run(document, {resultTypes: ['violations'], preload: false})"


def grave_findings(page: Page) -> list[str]:
    """The serious and critical findings on the page as it is now. Skips the test without npm."""
    # By the debugger's protocol, which the page's content policy does not stop.
    page.evaluate((packages() / "axe-core" / "axe.min.js").read_text())
    violations = page.evaluate(RUN)["violations"]
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {node['target']}"
        for each in violations
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]
