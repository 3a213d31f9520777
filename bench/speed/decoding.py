"""Large JPEGs: what decoding at a reduced scale spares, and what it changes."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import click
from clipserve_gateway.inputs import preprocess

from bench.speed import images, messages
from bench.speed.photos import folder_of, photographs
from bench.speed.scale import Bar, Scale
from bench.speed.systems import Load, clipserve_of, export, worker_of
from testing.preprocessing import square

SIDES = ((64, 64), (256, 256), (500, 375), (1280, 960), (2560, 1920), (4000, 3000), (8160, 6120))
"""Up to 50 megapixels."""
LARGE = (4000, 3000)
PHOTOS = 8


def suite(model: str, scale: Scale, load: Load, folder: Path) -> tuple[dict[str, Any], list[Bar]]:
    """CPU time by size in both modes; embeddings of large photographs against those of whole decoding."""
    click.echo("· decoding by size of the picture", err=True)
    sizes = []
    for width, height in SIDES:
        found = photographs(PHOTOS if width <= LARGE[0] else 1, width, height)
        spent = cpu_ms(found, scale.seconds / 2)
        sizes.append({"width": width, "height": height, "bytes": len(found[0]), **spent})
    repository = export(model)
    with (
        clipserve_of(model, repository, folder / "decoding") as service,
        worker_of(model, repository, folder_of(*LARGE), folder) as worker,
    ):
        agreement = images.agreement_of(
            service, photographs(PHOTOS, *LARGE), images.decoded_whole(worker, PHOTOS)
        )
    large = next(row for row in sizes if (row["width"], row["height"]) == LARGE)
    return {"sizes": sizes, "agreement": agreement}, [
        Bar("12 megapixels: whole decoding's time of ours", large["exact"] / large["fast"], 5.0),
        Bar("12 megapixels: lowest cosine to whole decoding", agreement, 0.999),
    ]


def cpu_ms(photos: list[bytes], seconds: float) -> dict[str, float]:
    """CPU milliseconds a picture on one thread in each mode, by turns; the median of rounds."""
    rounds: dict[str, list[float]] = {"exact": [], "fast": []}
    end = time.perf_counter() + seconds
    while not rounds["fast"] or time.perf_counter() < end:
        for mode, found in rounds.items():
            begin = time.thread_time()
            for photo in photos:
                preprocess.load_image(
                    photo, *square(messages.SIZE), limits=messages.LIMITS, fast=mode == "fast"
                )
            found.append((time.thread_time() - begin) * 1000 / len(photos))
    return {mode: statistics.median(found) for mode, found in rounds.items()}
