"""What contributors run before a commit is what `make lint` runs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def variable(name: str) -> str:
    (value,) = re.findall(rf"^{name} := (.*)$", MAKEFILE, re.MULTILINE)
    return value


def lint_commands() -> list[str]:
    """The commands of the target `lint`, without its last line for people."""
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    lines = [line.removeprefix("\t@") for line in recipe.splitlines()]
    for name in ("VENV", "SOURCES"):
        lines = [line.replace(f"$({name})", variable(name)) for line in lines]
    # Import rules print their report only where one is broken: the same command twice.
    commands = [line.partition(" >/dev/null || ")[0] for line in lines]
    assert commands[-1].startswith("echo ")
    return commands[:-1]


def test_pre_commit_runs_what_make_lint_runs():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert [hook["entry"] for hook in hooks] == lint_commands()
    # Tools of the environment, over everything: nothing is fetched, and no file is left out.
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)
