"""Photographs to send: as many as are asked for, no two alike, of any size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bench.speed import BUILD, ROOT

SOURCES = ROOT / "demo" / "photos"
QUALITY = 90
GRAINY = 1000
"""Pixels of width from which pictures get the grain of a camera's: enlarged ones have nothing so fine."""
GRAIN = 4.0
"""Standard deviation, of 255."""


def photographs(count: int, width: int = 500, height: int = 375) -> list[bytes]:
    """JPEGs of random parts of the demo's photographs; 500 × 375 is what ImageNet's mostly are.

    Equal pictures under way at the same time are computed once, so a benchmark must not send them.
    """
    folder = folder_of(width, height)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number:04}.jpg" for number in range(count)]
    if not all(file.exists() for file in files):
        sources = [Image.open(file).convert("RGB") for file in sorted(SOURCES.glob("*.jpg"))]
        for number, file in enumerate(files):
            file.write_bytes(part(sources[number % len(sources)], width, height, number))
    return [file.read_bytes() for file in files]


def part(source: Image.Image, width: int, height: int, seed: int) -> bytes:
    """A random part of a photograph, at least a third of it, scaled to that size."""
    rng = np.random.default_rng(seed)
    scale = min(source.width / width, source.height / height) * rng.uniform(1 / 3, 1)
    w, h = width * scale, height * scale
    left, top = rng.uniform(0, source.width - w), rng.uniform(0, source.height - h)
    box = (left, top, left + w, top + h)
    picture = source.resize((width, height), Image.Resampling.BICUBIC, box=box)
    if width >= GRAINY:
        grain = rng.standard_normal((height, width, 1), np.float32) * np.float32(GRAIN)
        picture = Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def folder_of(width: int = 500, height: int = 375) -> Path:
    """Where the photographs of a size are kept."""
    return BUILD / f"photographs-{width}x{height}"
