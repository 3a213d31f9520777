"""What fast decoding changes in embeddings, and what it spares: several rules, by kind of picture.

In the models' environment, with the demo model; `--photos` adds folders of photographs, and `--resize` and
`--interpolation` measure other ways of resizing:

    PYTHONPATH=gateway:exporter .venv-models/bin/python -m bench.fast_decode --photos FOLDER
"""

from __future__ import annotations

import io
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import numpy as np
import torch
from clipserve_gateway.inputs import preprocess
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image
from clipserve_gateway.types import AS_OPEN_CLIP, Preprocess
from PIL import Image

from bench.fast_decode.pictures import pictures
from bench.offline import Towers

ROOT = Path(__file__).parents[2]
LIMITS = ImageLimits(1 << 28, 1 << 28)
SIZE = 224
SQUARE = Preprocess(SIZE, SIZE)
BAR = 0.999
RULES = {
    "2 ×": (2, False),
    "3 ×": (3, False),
    "4 ×": (4, False),
    "as served": (preprocess.SCALED_SIDES, True),
}
"""Sides of the target that a scaled JPEG has at least, and whether some pictures are decoded once more."""
EXACT = "exact"
PHOTO_SIZES = ((1280, 960), (2560, 1920), (4000, 3000), (6000, 4000), (8160, 6120))
GRAIN = 4.0
Resize, Filter = Literal["shortest", "longest", "squash"], Literal["bicubic", "bilinear"]
RESIZES, FILTERS = get_args(Resize), get_args(Filter)
CHECKS = {name: getattr(preprocess, name) for name in ("is_flat", "is_delicate")}


def pixels(content: bytes, rule: str, way: Preprocess = SQUARE) -> tuple[np.ndarray, float]:
    """The pixels by a rule, and the CPU milliseconds that they take."""
    preprocess.SCALED_SIDES, checked = RULES.get(rule, (1, False))
    for name, check in CHECKS.items():
        setattr(preprocess, name, check if checked else lambda *_: False)
    begin = time.thread_time()
    found = load_image(content, way, AS_OPEN_CLIP, limits=LIMITS, fast=rule != EXACT)
    return found, 1000 * (time.thread_time() - begin)


def cosines(towers: Towers, images: Sequence[np.ndarray]) -> list[float]:
    """Of all to the first."""
    found = towers.encode_images(np.stack(images)).numpy()
    return [float(row @ found[0]) for row in found]


def photograph(file: Path, width: int, height: int) -> bytes:
    """A photograph of that size, with a camera's grain."""
    image = np.asarray(Image.open(file).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
    grain = np.random.default_rng(0).standard_normal((height, width, 1), np.float32) * GRAIN
    content = io.BytesIO()
    Image.fromarray((image + grain).clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def line(*cells: Any) -> None:
    """A row of a table."""
    click.echo(f"| {' | '.join(map(str, cells))} |")


@click.command()
@click.option("--photos", multiple=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--repository", default=ROOT / "build" / "model_repository", type=click.Path(path_type=Path))
@click.option("--name", default="demo", help="The model's name in the repository.")
@click.option("--rule", "rules", multiple=True, default=RULES, type=click.Choice(list(RULES)))
@click.option("--resize", "resizes", multiple=True, default=["shortest"], type=click.Choice(RESIZES))
@click.option("--interpolation", "filters", multiple=True, default=["bicubic"], type=click.Choice(FILTERS))
@click.option("--show", is_flag=True, help="Also each picture below the bar as served.")
def main(
    photos: tuple[Path, ...],
    repository: Path,
    name: str,
    rules: Sequence[str],
    resizes: Sequence[Resize],
    filters: Sequence[Filter],
    show: bool,
) -> None:
    """Prints the tables of docs/performance.md."""
    torch.set_num_threads(1)
    towers = Towers(repository, name)
    measured: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    ways = [Preprocess(SIZE, SIZE, resize, filter) for resize in resizes for filter in filters]
    for (what, title, content), way in itertools.product(pictures([ROOT / "demo" / "photos", *photos]), ways):
        kind = what if len(ways) == 1 else f"{what}, {way.resize}, {way.interpolation}"
        made = {rule: pixels(content, rule, way) for rule in (EXACT, *rules)}
        for (rule, (_, spent)), cosine in zip(
            made.items(), cosines(towers, [found for found, _ in made.values()]), strict=True
        ):
            measured[kind, rule].append((cosine, spent))
            if show and rule == "as served" and cosine < BAR:
                click.echo(f"{cosine:.4f} {kind}: {title}", err=True)
    line("kind", "rule", "pictures", f"below {BAR}", "lowest", "1 %", "5 %", "CPU ms", "exact")
    line(*["---"] * 9)
    for (kind, rule), rows in measured.items():
        found, spent = np.array(rows).T
        if rule != EXACT:
            whole = np.mean([cost for _, cost in measured[kind, EXACT]])
            low, high = np.quantile(found, [0.01, 0.05])
            below = int((found < BAR).sum())
            numbers = (
                f"{found.min():.4f}",
                f"{low:.4f}",
                f"{high:.4f}",
                f"{spent.mean():.0f}",
                f"{whole:.0f}",
            )
            line(kind, rule, len(rows), below, *numbers)
    click.echo()
    line("photograph, CPU ms", *rules, EXACT)
    line(*["---"] * (2 + len(rules)))
    files = sorted((ROOT / "demo" / "photos").glob("*.jpg"))[:3]
    for width, height in PHOTO_SIZES:
        contents = [photograph(file, width, height) for file in files]
        times = [np.median([pixels(content, rule)[1] for content in contents]) for rule in (*rules, EXACT)]
        line(f"{width} × {height}", *(f"{spent:.1f}" for spent in times))


if __name__ == "__main__":
    main()
