"""Measures clipserve end to end, beside ceilings and peers, and draws what it saw.

\b
python -m bench.speed                       three quarters of an hour on two cores, an hour with peers
python -m bench.speed --full                longer turns, more rounds, more points of each curve
python -m bench.speed --suites images,search

Servers and load share the machine: use one that does nothing else. Results go to a JSON file, with a table
and plots beside it; suites that are not run keep their earlier ones. The exit code is 0 only if every bar
holds.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bench.speed import ROOT
from bench.speed.machine import machine
from bench.speed.plots import draw
from bench.speed.report import markdown
from bench.speed.scale import FULL, MINUTES, Bar
from bench.speed.suites import SUITES
from bench.speed.systems import Load


@click.command(help=__doc__)
@click.option("--full", is_flag=True, help="Take the time that figures for publication need.")
@click.option("--suites", default=",".join(SUITES), show_default=True, help="With commas between.")
@click.option(
    "--models", default="demo,ViT-B-32", show_default=True, help="Random weights where none come along."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=ROOT / "bench" / "results",
    help="Folder for the results.",
)
def main(full: bool, suites: str, models: str, out: Path) -> None:
    """See the module's docstring."""
    scale = FULL if full else MINUTES
    chosen = suites.split(",")
    for name in chosen:
        if name not in SUITES:
            raise click.UsageError(f"no suite {name!r}; there are: {', '.join(SUITES)}")
    # So that the servers are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    here, kept = machine(), True
    with tempfile.TemporaryDirectory(prefix="clipserve-speed-") as scratch:
        folder = Path(scratch)
        load = Load(folder)
        try:
            for name in chosen:
                facts, bars = SUITES[name](models.split(","), scale, load, folder)
                keep(name, {"machine": here, "scale": asdict(scale), "facts": facts}, bars, out)
                for bar in bars:
                    sign, word = "≤" if bar.most else "≥", "pass" if bar.kept else "FAIL"
                    click.echo(f"{word}  {bar.what}: {bar.value:.4g} ({sign} {bar.bound:g})")
                kept = kept and all(bar.kept for bar in bars)
        finally:
            load.lines.stop()
    sys.exit(0 if kept else 1)


def keep(name: str, run: dict[str, Any], bars: list[Bar], out: Path) -> None:
    """A suite's results take the place of its earlier ones, in the file, the tables and the plots."""
    run["bars"] = [asdict(bar) | {"value": float(bar.value), "kept": bar.kept} for bar in bars]
    out.mkdir(parents=True, exist_ok=True)
    file = out / "speed.json"
    runs = json.loads(file.read_text()) if file.exists() else {}
    # Keys of numbers become those of JSON.
    runs = json.loads(json.dumps(runs | {name: run}))
    runs = {suite: runs[suite] for suite in SUITES if suite in runs}
    file.write_text(json.dumps(runs, indent=1))
    (out / "speed.md").write_text(markdown(runs))
    draw({suite: it["facts"] for suite, it in runs.items()}, out)


if __name__ == "__main__":
    main()
