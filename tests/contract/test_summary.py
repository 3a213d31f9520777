"""The summary of a test run counts every test once and names every reason of skipping."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testing import summary

SCRIPT = Path(summary.__file__)
MIXED = """
import pytest

@pytest.fixture
def broken_at_the_end():
    yield
    raise RuntimeError("broken")

def test_good(): pass
def test_bad(): assert False
def test_error(missing_fixture): pass
def test_good_then_error(broken_at_the_end): pass
def test_bad_then_error(broken_at_the_end): assert False
@pytest.mark.parametrize("n", range(3))
def test_skipped(n): pytest.skip("kubectl is missing:\\n  install it")
@pytest.mark.skipif(True, reason="no data")
def test_marked(): pass
@pytest.mark.skip
def test_without_reason(): pass
@pytest.mark.parametrize("n", [])
def test_of_nothing(n): pass
@pytest.mark.slow
def test_slow(): pass
"""


def report(folder: Path, name: str, source: str, *options: str) -> Path:
    """The report of a real pytest run of some tests."""
    tests = folder / name
    tests.mkdir()
    (tests / "pytest.ini").write_text("[pytest]\nmarkers = slow\n")
    (tests / "test_it.py").write_text(source)
    out = folder / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={out}", *options]
    # Without plugins pytest starts three times as fast.
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([*command, tests], cwd=tests, env=env, capture_output=True, check=False, timeout=60)
    return out


def summarize(*reports: Path, **env: str) -> tuple[int, list[str], str]:
    """Exit code, lines and errors of the command."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *reports],
        env=os.environ | {"PYTHONUTF8": "0"} | env,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode().splitlines(), done.stderr.decode()


def test_every_test_is_counted_once_over_all_reports(tmp_path: Path) -> None:
    mixed = report(tmp_path, "mixed", MIXED, "-m", "not slow")
    more = report(
        tmp_path, "more", "import pytest\ndef test(): pytest.skip('no data')\ndef test_good(): pass\n"
    )
    code, lines, errors = summarize(mixed, more)
    assert code == 1
    assert errors == ""
    assert lines[0] == "2 passed, 4 failed, 7 skipped"
    assert lines[1:4] == [
        "  3 skipped: kubectl is missing: install it",
        "  2 skipped: no data",
        lines[3],
    ]
    assert len(lines) == 5
    assert "  1 skipped: unconditional skip" in lines
    assert any("got empty parameter set" in line for line in lines)
    assert not any(".py:" in line for line in lines)


def test_a_module_that_is_skipped_or_broken_counts(tmp_path: Path) -> None:
    skipped = report(tmp_path, "skipped", "import pytest\npytest.skip('no data', allow_module_level=True)\n")
    assert summarize(skipped)[:2] == (0, ["0 passed, 0 failed, 1 skipped", "  1 skipped: no data"])
    broken = report(tmp_path, "broken", "import nothing_of_this_name\n")
    assert summarize(broken)[:2] == (1, ["0 passed, 1 failed, 0 skipped"])


def test_a_run_where_all_is_well_has_one_line(tmp_path: Path) -> None:
    good = report(tmp_path, "good", "def test(): pass\n")
    assert summarize(good) == (0, ["1 passed, 0 failed, 0 skipped"], "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("", "is not a complete report"),
        ("<testsuites><testsuite><testcase/>", "is not a complete report"),
        ('<testsuites><testsuite tests="0"/></testsuites>', "contains no tests"),
    ],
    ids=["missing", "empty", "cut", "without tests"],
)
def test_a_report_that_shows_nothing_is_an_error(tmp_path: Path, content: str | None, words: str) -> None:
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_text("<testsuites><testsuite><testcase/></testsuite></testsuites>")
    if content is not None:
        bad.write_text(content)
    code, lines, errors = summarize(bad, good)
    assert code == 2
    assert lines == ["1 passed, 0 failed, 0 skipped"], "the other reports are added up nevertheless"
    assert errors.startswith(f"error: {bad} {words}")


def test_a_run_that_chooses_no_test_is_an_error(tmp_path: Path) -> None:
    code, _, errors = summarize(report(tmp_path, "none", MIXED, "-m", "slow", "-k", "good"))
    assert code == 2
    assert "contains no tests" in errors


def test_no_reports_are_an_error() -> None:
    assert summarize()[0] == 2


def test_positions_in_files_are_no_part_of_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    case = '<testcase name="{}"><skipped message="{}"/></testcase>'
    messages = ["/home/me/tests/test_a.py:12: no data", "tests/test_b.py:3: Skipped: no data", "no data", ""]
    file.write_text(f"<testsuite>{''.join(case.format(*it) for it in enumerate(messages))}</testsuite>")
    expected = ["0 passed, 0 failed, 4 skipped", "  3 skipped: no data", "  1 skipped: no reason given"]
    assert summarize(file) == (0, expected, "")


def test_reasons_are_printed_in_any_locale(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text('<testsuite><testcase><skipped message="größer"/></testcase></testsuite>', "utf-8")
    code, lines, errors = summarize(file, LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (code, errors) == (0, "")
    assert lines[1].startswith("  1 skipped: gr")
