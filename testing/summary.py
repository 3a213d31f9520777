"""Adds up pytest's JUnit reports: totals on one line, then each reason of skipping with its number of tests.

Run as `python testing/summary.py build/tests/*.xml`. The exit code is 1 if a test failed, and 2 if a
report is missing, broken or without tests. Only the standard library is needed.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

FAILED, UNREADABLE = 1, 2
"""Exit codes."""
POSITION = re.compile(r"^\S+\.py:\d+: ")
"""The file and line that some reasons begin with."""
MODULE = "collection skipped"
"""The message where a whole module is skipped; the reason is in the element's text."""


class ReportError(Exception):
    """A report cannot be added up; the message says which and why."""


class Totals:
    """Numbers of tests by outcome, and of skipped ones by reason."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0
        self.skipped: Counter[str] = Counter()

    def add(self, report: Path) -> None:
        """Adds the tests of a report. Raises ReportError."""
        try:
            cases = list(ET.parse(report).iter("testcase"))
        except OSError as error:
            raise ReportError(f"{report} cannot be read: {error.strerror}") from error
        except (ET.ParseError, LookupError, ValueError) as error:
            raise ReportError(f"{report} is not a complete report: {error}") from error
        if not cases:
            raise ReportError(f"{report} contains no tests")
        # A test that fails, and whose fixture then fails at its end, has two elements.
        tests: dict[tuple[str, str], list[ET.Element]] = {}
        for case in cases:
            tests.setdefault((case.get("classname", ""), case.get("name", "")), []).extend(case)
        for results in tests.values():
            self._count(results)

    def _count(self, results: Sequence[ET.Element]) -> None:
        """Adds one test. One that passes or is skipped, and whose fixture then fails, counts as failed."""
        skipped = [element for element in results if element.tag == "skipped"]
        if any(element.tag in ("failure", "error") for element in results):
            self.failed += 1
        elif skipped:
            self.skipped[reason(skipped[0])] += 1
        else:
            self.passed += 1

    def lines(self) -> list[str]:
        """The totals, then the reasons of skipping, the most frequent first."""
        totals = f"{self.passed} passed, {self.failed} failed, {self.skipped.total()} skipped"
        reasons = sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))
        return [totals, *(f"  {count} skipped: {words}" for words, count in reasons)]


def reason(skipped: ET.Element) -> str:
    """Why a test was skipped, on one line and without a position in a file."""
    message = skipped.get("message", "")
    if message == MODULE and skipped.text:
        message = reason_of_module(skipped.text)
    words = POSITION.sub("", " ".join(message.split())).removeprefix("Skipped: ")
    return words or "no reason given"


def reason_of_module(text: str) -> str:
    """The reason in pytest's text about a skipped module: (file, line, reason), as Python writes a tuple."""
    try:
        _, _, words = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError):
        return text
    return str(words)


def main(arguments: Sequence[str]) -> int:
    """Prints the summary of the reports; the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A reason may hold characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="replace")
    if not arguments:
        print("usage: python testing/summary.py REPORT.xml…", file=sys.stderr)
        return UNREADABLE
    totals, problems = Totals(), []
    for path in arguments:
        try:
            totals.add(Path(path))
        except ReportError as error:  # noqa: PERF203  (the other reports are still added up)
            problems.append(str(error))
    print("\n".join(totals.lines()), flush=True)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        return UNREADABLE
    return FAILED if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
