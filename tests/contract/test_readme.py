"""The README promises what is there: targets, commands, options, files and settings."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import click
import clipserve.tools.cli
import clipserve_gateway.cli
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = re.compile(r"^(?:[^`.]*\| )?clipserve(-gateway)? ")
COMMANDS = {"clipserve": clipserve.tools.cli.main, "clipserve-gateway": clipserve_gateway.cli.main}


def shell_lines() -> list[list[str]]:
    """Every command of every shell block, as words."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_every_make_target_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in shell_lines() if words[0] == "make"}
    assert named >= {"demo", "serve", "test", "lint", "protos"}
    assert named <= targets


def help_lines(command: click.Command) -> list[list[str]]:
    """The examples in the help of a command and of those below it, as words."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    # What stands before a pipe, and behind a redirection, is the shell's.
    found = [shlex.split(line[line.index("clipserve") :]) for line in lines if EXAMPLE.search(line)]
    found = [list(itertools.takewhile(lambda word: word not in ("<", ">", ">>", "|"), it)) for it in found]
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return found + [words for each in below for words in help_lines(each)]


DOCUMENTED = [words for words in shell_lines() if words[0] in COMMANDS]
IN_HELP = [words for command in COMMANDS.values() for words in help_lines(command)]


@pytest.mark.parametrize("words", DOCUMENTED + IN_HELP, ids=shlex.join)
def test_every_command_and_option_exists(words):
    command, rest = COMMANDS[words[0]], words[1:]
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    if isinstance(command, click.Group) and rest and rest[0].startswith("-"):
        command = command.commands["list"]  # what such a group does by default
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"} <= options
    if isinstance(command, click.Group):
        assert not rest, "no such command"


def test_help_has_examples():
    assert len(IN_HELP) > 40


def test_every_model_is_exported_before_a_command_names_it():
    """A person tries the lines in the order in which they stand."""
    exported, named = set(), set()
    for words in shell_lines():
        if words[0].endswith("clipserve-export"):
            exported.add(words[words.index("--model") + 1].lower())
        elif words[0] == "clipserve":
            wanted = {words[i + 1] for i, word in enumerate(words) if word in ("--model", "--to-model")}
            assert wanted <= exported, words
            named |= wanted
    assert named


def test_every_option_of_the_exporter_exists():
    source = (ROOT / "exporter" / "clipserve_exporter" / "cli.py").read_text()
    lines = [words for words in shell_lines() if words[0].endswith("clipserve-export")]
    used = {word for words in lines for word in words if word.startswith("--")}
    assert used
    assert all(f'"{option}"' in source for option in used)


def test_every_setting_that_is_named_exists():
    declared = (clipserve_gateway.cli.Settings, clipserve_gateway.cli.LocalTritonSettings)
    settings = {f"CLIPSERVE_{name.upper()}" for kind in declared for name in kind.model_fields}
    assert set(re.findall(r"CLIPSERVE_[A-Z_]+", README)) <= settings
