"""The trial on bare machines: what it reads and prints. The machines need root and half an hour."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fresh.__main__ import HEAD, row, table
from fresh.bare import PACKAGES
from fresh.images import IMAGES, expand, instructions
from fresh.odd import ODD
from fresh.steps import COMMANDS, Result, downloaded_mb, missing

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RESULT = Result("bookworm", "make demo", 0, 101.4, 582, 1995, "")


def test_a_bare_machine_has_what_the_readme_asks_for_and_no_more():
    [line] = re.findall(r"`sudo apt-get install ([^`]+)`", README)
    assert set(PACKAGES.split(",")) == {*line.split(), "ca-certificates"}


def test_the_commands_are_those_of_the_readme():
    for command in COMMANDS:
        assert command in README


def test_the_table_is_markdown_with_a_row_for_each_command():
    lines = table([RESULT, RESULT]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {len(HEAD) + 1}
    assert lines[2] == "| bookworm | `make demo` | works | 101 | 582 | 1995 | – |"


def test_a_failure_shows_its_exit_code():
    assert "fails (2)" in row(Result("trixie", "make test", 2, 1, 0, 0, ""))


def test_what_was_missing_is_taken_from_a_commands_output():
    words = (
        "  ✓ disk  much\n  ! libpython  is downloaded\n✗ bash: sudo apt-get install bash\n"
        "12 passed, 0 failed, 3 skipped\n  3 skipped: kubectl is missing: get it\n"
    )
    lines = missing(words).split("; ")
    assert lines[0] == "12 passed, 0 failed, 3 skipped"
    assert {part.split()[0] for part in lines[1:]} == {"!", "✗", "3"}


def test_downloads_are_added_up_over_both_environments(tmp_path):
    for name, sizes in ((".venv", {"a": [5_000_000, 1]}), (".venv-models", {"b": [7_000_000, 2]})):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".clipserve.json").write_text(json.dumps({"sizes": sizes}))
    assert downloaded_mb(tmp_path) == 12


@pytest.mark.parametrize("name", IMAGES)
def test_every_instruction_of_a_dockerfile_is_known(name):
    words = instructions((ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text())
    known = {"ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}
    assert {word for word, _ in words} <= known


def test_continued_lines_and_comments_are_joined_and_left_out():
    assert instructions("# no\nRUN a \\\n    # inner\n    && b\n") == [("RUN", "a && b")]


def test_variables_are_expanded():
    assert expand("$A/bin:${B}", {"A": "/opt", "B": "x"}) == "/opt/bin:x"


@pytest.mark.parametrize("name", list(ODD))
def test_every_odd_place_says_what_must_come_of_it(name):
    place = ODD[name]
    assert re.compile(place.says)
    assert place.about
