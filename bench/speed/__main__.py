"""Measures clipserve end to end, beside ceilings and peers, and draws what it saw.

\b
python -m bench.speed                       some minutes, on two cores
python -m bench.speed --full                longer turns, more rounds, more points of each curve
python -m bench.speed --suites images,search

Servers and load share the machine: use one that does nothing else. Results go to a JSON file, with a table
and plots beside it. The exit code is 0 only if every bar holds.
"""

from __future__ import annotations

import json
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
    results: dict[str, Any] = {"machine": machine(), "scale": asdict(scale)}
    bars: list[Bar] = []
    with tempfile.TemporaryDirectory(prefix="clipserve-speed-") as scratch:
        folder = Path(scratch)
        load = Load(folder)
        try:
            for name in chosen:
                results[name], found = SUITES[name](models.split(","), scale, load, folder)
                bars += found
                write(results, bars, out)
        finally:
            load.lines.stop()
    for bar in bars:
        sign = "≤" if bar.most else "≥"
        click.echo(f"{'pass' if bar.kept else 'FAIL'}  {bar.what}: {bar.value:.4g} ({sign} {bar.bound:g})")
    sys.exit(0 if all(bar.kept for bar in bars) else 1)


def write(results: dict[str, Any], bars: list[Bar], out: Path) -> None:
    """What has been measured so far, as JSON, as tables and as plots."""
    rows = [asdict(bar) | {"value": float(bar.value), "kept": bar.kept} for bar in bars]
    # Keys of numbers become those of JSON.
    results = json.loads(json.dumps(results | {"bars": rows}))
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps(results, indent=1))
    (out / "speed.md").write_text(markdown(results))
    draw(results, out)


if __name__ == "__main__":
    main()
