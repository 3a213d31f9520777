"""A step tells what it took, over all the programs that it ran."""

from __future__ import annotations

import re

import pytest

from bootstrap.progress import Lines, Step


def test_a_step_adds_up_what_its_programs_downloaded(capsys):
    with Step(Lines(), ".venv torch: torch") as step:
        step.set_progress("torch.whl", 200_000_000)
        step.add_downloaded(200_000_000)
        step.set_progress("sympy.whl", 6_000_000)
    begin, end = capsys.readouterr().err.splitlines()
    assert begin == "· .venv torch: torch"
    assert re.fullmatch(r"✓ \.venv torch: torch: \d+ s, 206 MB downloaded", end)


def test_a_step_that_fails_is_not_told_as_done(capsys):
    with pytest.raises(ValueError, match="x"), Step(Lines(), "a step"):
        raise ValueError("x")
    assert "✓" not in capsys.readouterr().err


def test_without_a_terminal_nothing_moves(capsys):
    Lines().move("a", "text")
    assert capsys.readouterr().err == ""
