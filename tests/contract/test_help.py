"""Help of all commands fits a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from clipserve.tools.cli import main as client
from clipserve_gateway.cli import main as gateway

COLUMNS = 80


def groups(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Group]]:
    """The groups of commands, with the words that lead to them."""
    if isinstance(command, click.Group):
        yield path, command
        for name, child in command.commands.items():
            yield from groups(child, *path, name)


LISTS = [(root, path) for root in (client, gateway) for path, _ in groups(root)]


@pytest.mark.parametrize(
    ("root", "path"), LISTS, ids=lambda value: value.name if not isinstance(value, tuple) else None
)
def test_no_list_of_commands_cuts_a_sentence(root: click.Group, path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(root, [*path, "--help"], terminal_width=COLUMNS)
    assert shown.exit_code == 0
    _, _, commands = shown.output.partition("Commands:\n")
    lines = commands.splitlines()
    assert len(lines) > 1, "the list was found"
    cut = [line for line in lines if line.rstrip().endswith("...")]
    assert cut == []


def test_both_programs_have_groups() -> None:
    assert {root for root, path in LISTS if path} == {client, gateway}
