"""Breaks one thing after another under load, and shows what callers notice.

Real processes only: Triton, gateways, engines and callers, each killed, stopped or starved as its row says.
The exit code is 0 only if every promise was kept.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import click
from clipserve_gateway.process.proxies import except_this_machine

import faults.rows  # noqa: F401  (enters the rows)
from faults.fault_env import FaultEnv
from faults.report import Outcome, markdown, tell
from faults.row import ROWS, Promise, Row, promises


@click.command(help=__doc__)
@click.option("--rows", default="", help="Names of rows, with commas between; all by default.")
@click.option("--list", "list_them", is_flag=True, help="Show the rows and end.")
@click.option("--seconds", default=60.0, show_default=True, help="Length of the overloads.")
@click.option("--tries", default=50, show_default=True, help="Kills of the rows that kill again and again.")
@click.option("--swaps", default=10, show_default=True, help="Exports of a model that is served.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("build/faults.md"), show_default=True,
    help="The table, in Markdown.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the folder with all logs.")
def main(rows: str, list_them: bool, seconds: float, tries: int, swaps: int, out: Path, keep: bool) -> None:
    """See the module's docstring."""
    # All that is called runs on this machine.
    except_this_machine()
    chosen = [name.strip() for name in rows.split(",") if name.strip()] or list(ROWS)
    if unknown := [name for name in chosen if name not in ROWS]:
        raise click.UsageError(f"no row {unknown[0]!r}; there are: {', '.join(ROWS)}")
    if list_them:
        for name in chosen:
            click.echo(f"{name}: {ROWS[name].how}")
        return
    began, begin = dt.datetime.now(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="clipserve-faults-"))
    outcomes, common = [], FaultEnv(folder / "common")
    try:
        for name in chosen:
            env = FaultEnv(folder / name, seconds=seconds, tries=tries, swaps=swaps, common=common)
            outcomes.append(run(ROWS[name], env))
            tell(outcomes[-1])
    finally:
        common.close()
        if keep:
            click.echo(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(markdown(outcomes, began, time.monotonic() - begin))
    broken = [outcome.row.name for outcome in outcomes if not outcome.kept]
    click.echo(f"{out}: " + (f"{', '.join(broken)} FAILED" if broken else f"all {len(outcomes)} rows passed"))
    sys.exit(1 if broken else 0)


def run(row: Row, env: FaultEnv) -> Outcome:
    """What becomes of a row's promises; one that cannot be run to its end does not pass."""
    begin = time.monotonic()
    seen: list[Promise] = []
    try:
        seen.extend(promises(row, env))
    except Exception as error:
        traceback.print_exc()
        problem = f"{type(error).__name__}: {error}"[:300]
        seen.append(Promise("the row can be run to its end", problem, False))
    finally:
        env.close()
    return Outcome(row, tuple(seen), time.monotonic() - begin)


if __name__ == "__main__":
    main()
