"""Exports one model of each family, serves them in a real Triton, and compares them with open_clip.

All weights are random: what is compared is the service, not how good a model is. The results go into
zoo/data/results.json and docs/models.md. The exit code is 0 only if every row passed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from clipserve_gateway.process.proxies import except_this_machine
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from zoo import document, results
from zoo.rows import ALL, BY_NAME
from zoo.run import Plan, run_group


@click.command(help=__doc__)
@click.option("--rows", default="", help="Names of rows, with commas between; all by default.")
@click.option("--list", "list_them", is_flag=True, help="Show the rows and end.")
@click.option(
    "--precisions", default="fp32,bf16", show_default=True,
    help="fp32 comes first. fp16 is for GPUs: a CPU loads it for minutes and is no faster.",
)  # fmt: skip
@click.option("--group", default=3, show_default=True, help="Rows that are served at the same time.")
@click.option("--memory-gib", default=10.0, show_default=True, help="Limit of the memory of one export.")
@click.option("--minutes", default=8.0, show_default=True, help="Limit of the time of one export.")
@click.option("--seconds", default=4.0, show_default=True, help="Time of each measurement of speed.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=results.RESULTS, show_default=True,
    help="The results. docs/models.md is written anew if this option is not given.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the folder with all logs.")
def main(
    rows: str,
    list_them: bool,
    precisions: str,
    group: int,
    memory_gib: float,
    minutes: float,
    seconds: float,
    out: Path,
    keep: bool,
) -> None:
    """See the module's docstring."""
    # All that is called runs on this machine.
    except_this_machine()
    names = [name.strip() for name in rows.split(",") if name.strip()] or [row.name for row in ALL]
    if unknown := [name for name in names if name not in BY_NAME]:
        raise click.UsageError(f"no row {unknown[0]!r}; there are: {', '.join(BY_NAME)}")
    if list_them:
        for name in names:
            row = BY_NAME[name]
            click.echo(f"{name}: {row.architecture}{', shrunk' if row.shrunk else ''}")
        return
    folder = Path(tempfile.mkdtemp(prefix="clipserve-zoo-"))
    plan = Plan(folder, precisions.split(","), int(memory_gib * 2**30), 60 * minutes, seconds)
    try:
        failed = run_all(names, group, plan, out)
    finally:
        if keep:
            click.echo(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if out == results.RESULTS:
        document.write()
    click.echo(f"{out}: " + (f"{', '.join(failed)} FAILED" if failed else f"all {len(names)} rows passed"))
    sys.exit(1 if failed else 0)


def run_all(names: Sequence[str], group: int, plan: Plan, out: Path) -> list[str]:
    """Runs rows, some at a time, and writes the results after each group; returns those that failed."""
    failed = []
    order = [row.name for row in ALL]
    console = Console(stderr=True, highlight=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(names))

        def on_step(step: str) -> None:
            progress.update(bar, description=step)
            if not console.is_terminal:
                console.print(f"· {step}")

        for begin in range(0, len(names), group):
            started = time.monotonic()
            outcomes = run_group(names[begin : begin + group], plan, on_step)
            results.update(out, outcomes, order)
            for name, result in outcomes.items():
                console.print(results.line(name, result), soft_wrap=True)
                progress.advance(bar)
            failed += [name for name, result in outcomes.items() if not result["passed"]]
            on_step(f"{len(outcomes)} rows took {time.monotonic() - started:.0f} s")
    return failed


if __name__ == "__main__":
    main()
