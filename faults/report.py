"""What is shown while rows run, and the table they add up to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import click

from faults.row import Promise, Row


@dataclass(frozen=True)
class Outcome:
    """What became of a row's promises."""

    row: Row
    promises: tuple[Promise, ...]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether all were kept; a row that shows none does not pass."""
        return bool(self.promises) and all(promise.kept for promise in self.promises)


def tell(outcome: Outcome) -> None:
    """A row's lines for people."""
    click.secho(f"{outcome.row.name}  ({outcome.seconds:.0f} s)", bold=True)
    click.echo(f"  {outcome.row.how}")
    tell_promises(outcome.promises)


def tell_promises(promises: Iterable[Promise]) -> None:
    """A line for each promise."""
    for promise in promises:
        mark = click.style("pass", fg="green") if promise.kept else click.style("FAIL", fg="red", bold=True)
        click.echo(f"  {mark}  {promise.what}: {promise.seen}")


def markdown(outcomes: list[Outcome], began: dt.datetime, seconds: float) -> str:
    """The table for the documentation."""
    kept = sum(promise.kept for outcome in outcomes for promise in outcome.promises)
    of = sum(len(outcome.promises) for outcome in outcomes)
    minutes = f"{seconds / 60:.0f} minutes"
    lines = [
        f"{began:%Y-%m-%d}, {len(outcomes)} faults, {kept} of {of} promises kept, {minutes}.",
        "",
        "| fault | what was done, and what is promised | seen | |",
        "|---|---|---|---|",
    ]
    for outcome in outcomes:
        lines.append(f"| **{outcome.row.name}** | *{cell(outcome.row.how)}* | | |")
        for promise in outcome.promises:
            mark = "✓" if promise.kept else "**✗**"
            lines.append(f"| | {cell(promise.what)} | {cell(promise.seen)} | {mark} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text that does not break a table."""
    return " ".join(text.split()).replace("|", "\\|")
