"""What came of it: a bar while it runs, and a table at the end."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from clipserve_gateway.inputs.image_memory import LARGE_BYTES, MOST_BYTES
from clipserve_gateway.process.cores import available_cores
from clipserve_gateway.settings import Settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.fuzz.calls import Plan
from bench.fuzz.target import MIB, Target

console = Console(width=140)


@dataclass(frozen=True)
class Report:
    """One run."""

    seed: int
    seconds: float
    cases: int
    calls: int
    outcomes: Mapping[str, Counter[str]]
    slowest: list[tuple[float, Plan]]
    findings: list[str]
    target: Target
    max_pixels: int

    @property
    def memory(self) -> tuple[int, int, int] | None:
        """Resident bytes at first, at most and at last; None where they could not be read."""
        readings = self.target.readings
        return (readings[0], max(readings), readings[-1]) if readings else None

    @property
    def memory_bound(self) -> int:
        """First reading + one large image + a share for every thread + the inputs of calls under way.

        Of the gateway's defaults, where it does not tell its settings.
        """
        decoding = MOST_BYTES * self.max_pixels + available_cores() * LARGE_BYTES
        return (self.memory or (0,))[0] + decoding + Settings().max_inflight_bytes

    @property
    def is_in_bounds(self) -> bool:
        """Whether the gateway's memory stayed below its bound."""
        return self.memory is None or self.memory[1] <= self.memory_bound

    @property
    def kept_all(self) -> bool:
        """Whether every promise was kept."""
        return not self.findings and self.is_in_bounds


@contextlib.contextmanager
def bar(cases: int) -> Iterator[Callable[[int], None]]:
    """Shows how many cases are done, and how fast."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=cases, rate="")

        def advance(number: int) -> None:
            progress.update(task, advance=number)
            speed = progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.0f}/s" if speed else "")

        yield advance


def show(report: Report) -> None:
    """Prints the table and the verdict."""
    kinds = list(report.outcomes)
    totals = sum(report.outcomes.values(), Counter())
    table = Table("outcome", *kinds, "all")
    for reason, number in sorted(totals.items(), key=lambda it: (it[0] != "answered", -it[1])):
        row = [report.outcomes[kind][reason] for kind in kinds]
        table.add_row(
            reason, *(f"{it:,}" if it else "" for it in row), f"{number:,}", end_section=reason == "answered"
        )
    sums = [sum(report.outcomes[kind].values()) for kind in kinds]
    table.add_section()
    table.add_row("cases", *(f"{it:,}" for it in sums), f"{sum(sums):,}")
    console.print(table)
    console.print(
        f"seed {report.seed}: {report.cases:,} cases in {report.calls:,} calls and {report.seconds:.0f} s, "
        f"{report.cases / report.seconds:,.0f} a second"
    )
    for seconds, plan in report.slowest:
        console.print(f"  {seconds:.1f} s took call {plan.number}, {plan.method} ({plan.kind})")
    if report.memory:
        first, peak, last = (it // MIB for it in report.memory)
        bound = report.memory_bound // MIB
        console.print(
            f"gateway's memory in MiB: {first} at first, {peak} at most, {last} at last; bound {bound}"
        )
    for finding in report.findings:
        console.print(f"FAIL  {finding}", markup=False, highlight=False)
    if not report.is_in_bounds:
        console.print("FAIL  the gateway took more memory than its settings say")
    if report.kept_all:
        console.print("pass  every promise was kept")
