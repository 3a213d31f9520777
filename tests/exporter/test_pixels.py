"""The gateway's pixels in exact mode equal those of open_clip's own transform, to the bit."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
from clipserve_exporter.preprocessing import Preprocess as Exported
from clipserve_exporter.reference import load_pixels
from clipserve_gateway.inputs.preprocess import ImageLimits, load_image, load_raw
from clipserve_gateway.types import AS_OPEN_CLIP, Preprocess, RawImage
from PIL import Image

LIMITS = ImageLimits(1 << 24, 1 << 24)
RESIZES = ("shortest", "longest", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
SHAPES = ((16, 16), (33, 33), (24, 16), (16, 40), (21, 20))
"""Heights and widths of inputs, also odd and not square."""
SIZES = ((90, 60), (61, 97), (16, 16), (5, 5), (300, 7), (3, 200), (33, 34), (1, 40))
"""Widths and heights of images: wide, high, smaller than the input, odd and extreme."""
MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "P with transparency")
FORMATS = {"CMYK": "TIFF", "LAB": "TIFF", "YCbCr": "JPEG"}
FILLS = (0, 127, 255)


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth areas, edges and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = 127 + 90 * np.sin(x / 9 + seed) * np.cos(y / 7)
    pixels = np.stack([waves, 255 - waves, 255 * (x > width / 3)], 2) + random.normal(
        0, 12, (height, width, 1)
    )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def file_of(image: Image.Image, mode: str) -> bytes:
    """The picture as a file of that mode."""
    alpha = Image.linear_gradient("L").resize(image.size)
    options: dict[str, Any] = {}
    if mode == "P with transparency":
        image, options = image.quantize(50), {"transparency": 3}
    elif mode == "P":
        image = image.quantize(50)
    elif mode in ("LA", "RGBA"):
        image = image.convert(mode[:-1])
        image.putalpha(alpha)
    elif mode == "LAB":
        image = Image.merge("LAB", image.split())
    elif mode != "YCbCr":  # which a JPEG stores
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, FORMATS.get(mode, "PNG"), **options)
    return file.getvalue()


def check(content: bytes, preprocess: Preprocess) -> None:
    facts = Exported(
        preprocess.height,
        preprocess.width,
        (0.0,) * 3,
        (1.0,) * 3,
        preprocess.resize,
        preprocess.interpolation,
        preprocess.fill,
    )
    found = load_image(content, preprocess, AS_OPEN_CLIP, limits=LIMITS, fast=False)
    np.testing.assert_array_equal(found, load_pixels(content, facts))


def some(image: Image.Image) -> bool:
    """Whether open_clip can resize it in every mode: no side of the result is empty."""
    return max(image.size) / min(image.size) < 32


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_size_of_image_and_input(shape, resize, interpolation):
    for fill, (width, height) in zip(itertools.cycle(FILLS), SIZES, strict=False):
        image = picture(width, height)
        if resize != "longest" or some(image):
            check(file_of(image, "RGB"), Preprocess(*shape, resize, interpolation, fill))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_image(mode, resize, interpolation):
    for shape, size, fill in (((32, 32), (75, 50), 0), ((32, 20), (41, 67), 127), ((20, 32), (50, 50), 255)):
        check(file_of(picture(*size), mode), Preprocess(*shape, resize, interpolation, fill))


def test_random_sizes_modes_and_inputs():
    random = np.random.default_rng(7)
    for seed in range(80):
        width, height, tall, wide = (int(side) for side in random.integers(8, 160, 4))
        preprocess = Preprocess(
            min(tall, 64),
            min(wide, 64) if seed % 2 else min(tall, 64),
            RESIZES[random.integers(3)],
            INTERPOLATIONS[random.integers(2)],
            int(random.integers(256)),
        )
        check(file_of(picture(width, height, seed), MODES[random.integers(len(MODES))]), preprocess)


@pytest.mark.parametrize("resize", RESIZES)
def test_decoded_pixels_are_those_of_their_file(resize):
    image, preprocess = picture(90, 61), Preprocess(24, 32, resize, "bilinear", 99)
    raw = RawImage(image.tobytes(), *image.size)
    np.testing.assert_array_equal(
        load_raw(raw, preprocess, AS_OPEN_CLIP, limits=LIMITS, fast=False),
        load_image(file_of(image, "RGB"), preprocess, AS_OPEN_CLIP, limits=LIMITS, fast=False),
    )
