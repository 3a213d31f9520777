"""Measures the exported models on a GPU, alone and in the real Triton.

\b
python -m bench.gpu --out bench/results/gpu.json          # with .venv-models, on a machine with a GPU
python -m bench.gpu show bench/results/gpu.json
python -m bench.gpu plot bench/results/gpu.json --out docs/images/gpu.svg

Figures are written as soon as they are there. A part that fails is told in `failed`, and the others go on.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before torch is imported, as the exporter and the backend do.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click

PARTS = ("machine", "towers", "gathering", "triton", "variants", "profile", "decode", "first-calls")
BATCHES = "1,2,4,8,16,32,64,128,256,512"


class Report:
    """What has been measured, in a file that is always whole."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._begin = time.monotonic()
        self.found: dict[str, Any] = {"failed": {}, "seconds": {}}

    def say(self, text: str) -> None:
        """One line of progress."""
        click.echo(f"{time.monotonic() - self._begin:6.1f} s  {text}")

    def part(self, name: str, measure: Callable[[], None]) -> None:
        """One part; whatever it raises is kept in the report."""
        self.say(f"· {name}")
        begin = time.monotonic()
        try:
            measure()
        except Exception as error:
            traceback.print_exc()
            self.found["failed"][name] = f"{type(error).__name__}: {error}"[-2000:]
        self.found["seconds"][name] = round(time.monotonic() - begin, 1)
        self.write()

    def add(self, key: str, row: dict[str, Any]) -> None:
        """One row of a list."""
        self.found.setdefault(key, []).append(row)

    def write(self) -> None:
        """Writes what there is."""
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(rounded(self.found), indent=1))


def rounded(value: Any) -> Any:
    """Numbers with five digits: more are noise."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, float):
        # Cosines differ from 1 only in later digits.
        return round(value, 6) if 0.9 < value < 1.1 else float(f"{value:.5g}")
    return value


@click.group(invoke_without_command=True, help=__doc__)
@click.option("--device", type=click.Choice(["cuda", "cpu"]), default="cuda", show_default=True)
@click.option("--model", "models", multiple=True, default=("ViT-B-32", "demo", "ViT-L-14"), show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS, show_default=True)
@click.option("--batches", default=BATCHES, show_default=True, help="Batch sizes, with commas between.")
@click.option(
    "--backend", type=click.Path(path_type=Path, exists=True),
    help="Another model.py for Triton's Python backend, to compare.",
)  # fmt: skip
@click.option("--quick", is_flag=True, help="Every step, as short as it can be: does it run?")
@click.option("--out", type=click.Path(path_type=Path), default=Path("gpu.json"), show_default=True)
@click.pass_context
def main(
    context: click.Context,
    device: str,
    models: tuple[str, ...],
    parts: tuple[str, ...],
    batches: str,
    backend: Path | None,
    quick: bool,
    out: Path,
) -> None:
    """See the module's docstring."""
    if context.invoked_subcommand is not None:
        return
    from bench.gpu.parts import Run

    report = Report(out)
    run = Run(device, list(models), [int(batch) for batch in batches.split(",")], quick, report, backend)
    with tempfile.TemporaryDirectory(prefix="clipserve-gpu-") as folder:
        run.folder = Path(folder)
        for part in PARTS:
            if part in parts:
                report.part(part, getattr(run, part.replace("-", "_")))
    report.say(f"✓ {out}" if not report.found["failed"] else f"failed: {report.found['failed']}")
    sys.exit(bool(report.found["failed"]))


@main.command("first", hidden=True)
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.argument("tower")
@click.argument("size", type=int)
@click.argument("device")
@click.argument("largest", type=int)
@click.option("--without", default="")
def first(file: Path, tower: str, size: int, device: str, largest: int, without: str) -> None:
    """The first calls of new batch sizes, in this fresh process."""
    from bench.gpu.profile import first_calls

    click.echo(json.dumps(first_calls(file, tower, size, device, largest, without)))


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
def show(file: Path) -> None:
    """Show the figures as tables."""
    from bench.gpu.report import tables

    click.echo(tables(json.loads(file.read_text())))


@main.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/images/gpu.svg"))
def plot(file: Path, out: Path) -> None:
    """Draw the figures."""
    from bench.gpu.plot import draw

    draw(json.loads(file.read_text()), out)


if __name__ == "__main__":
    main()
