"""Small images for tests."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def pixels(seed: int, height: int = 24, width: int = 32) -> np.ndarray:
    """uint8 [height, width, 3]: blurred spots of color; each seed gives another image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def png(seed: int, height: int = 24, width: int = 32) -> bytes:
    """The image as a PNG file."""
    return saved(Image.fromarray(pixels(seed, height, width)))


def saved(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
