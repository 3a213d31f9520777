"""The pictures and texts that the zoo compares."""

from __future__ import annotations

import io
import json
import re

import numpy as np
from PIL import Image

from zoo import ROOT

GOLDEN = ROOT / "tests" / "golden"
SPECIAL = re.compile(r"<\|?(start|end)", re.IGNORECASE)
SIZES = ((300, 200), (97, 500), (640, 90), (33, 31))
"""Widths and heights of drawn pictures: wide, tall, and smaller than any model's input."""


def pictures() -> dict[str, bytes]:
    """Name → file: the demo's photographs, and drawings of odd shapes. None has alpha or an orientation."""
    return photos() | {f"{width}x{height}.png": drawn(width, height) for width, height in SIZES}


def photos() -> dict[str, bytes]:
    """Name → file of the demo's photographs, JPEG."""
    return {path.name: path.read_bytes() for path in sorted((ROOT / "demo" / "photos").glob("*.jpg"))}


def drawn(width: int, height: int) -> bytes:
    """A PNG with gradients, stripes and noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width).integers(-30, 30, (height, width, 3))
    stripes = np.where((x // 7 + y // 5) % 2, 220, 40)
    pixels = np.stack([255 * x / width, stripes, 255 * y / height], axis=2) + noise
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def texts() -> list[str]:
    """Odd strings in many scripts: short, long, with entities and emoji.

    Without empty ones, which the service refuses, and without spelled-out special tokens: each model's
    configuration says which of them it reads.
    """
    strings = [row["text"] for row in json.loads((GOLDEN / "tokens.json").read_text())]
    return [text for text in strings if text.strip() and not SPECIAL.search(text)]
