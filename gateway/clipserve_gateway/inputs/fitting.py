"""Turns decoded images into the pixels that an encoder takes: resized, cropped, RGB.

Fast mode resizes only the crop. Its rounding differs from resizing the whole image, by 1: for photographs in
one of some thousand values, for patterns between two values in up to a fifth of them. A difference of 1
matters in images that have almost one color, so these are resized whole in fast mode, too.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from clipserve_gateway.types import Pixels

WHOLE_PIXELS = 1 << 24
"""Up to this many pixels (64 MiB), an image is resized whole, as in open_clip; above, only its crop."""

NEAREST_MODES = ("1", "P", "PA")
"""Modes resized by nearest neighbor, where rounding selects another pixel."""
BITS_PER_SAMPLE = 258
"""Number of a TIFF tag."""
FLAT = 3.0
"""Standard deviation of the strongest color (0–255) below which an image has almost one color."""
DOMINANT_SHARE = 0.4
"""Share of a crop's pixels in one shade ± 1; drawings, text pages and screenshots have more."""
FINE_DETAIL = 30.0
"""Mean second difference of neighbors (0–255); halftones have more, photographs rarely."""
STEP = 8
"""Every 8th pixel, row and column of a crop is inspected."""


def resized(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height after resizing the shortest side to `size`."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def eight_bit(image: Image.Image) -> Image.Image:
    """The image with at most 8 bits a channel: the upper eight of gray with 16 bits, or 12 in a TIFF."""
    if image.mode.startswith("I"):
        twelve = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,)
        return Image.fromarray((np.asarray(image) >> (4 if twelve else 8)).clip(0, 255).astype(np.uint8))
    return image


def is_flat(pixels: Pixels) -> bool:
    """Whether an image has almost one color."""
    return float(pixels[::4, ::4].reshape(-1, 3).std(axis=0).max()) < FLAT


def is_delicate(image: Image.Image, region: tuple[float, float], target: tuple[int, int], size: int) -> bool:
    """Whether scaled decoding would change the content of a crop; arguments as those of `fitted`.

    The pixels of a scaled JPEG are means. They lose colors of thin lines, and patterns about as fine as the
    JPEG's blocks. This matters in halftones, and in images of lines on one background.
    """
    left, top = corner_of(target, size)
    across, down = region[0] / target[0], region[1] / target[1]
    crop = image.crop(
        (round(left * across), round(top * down), round((left + size) * across), round((top + size) * down))
    )
    luma = np.asarray(crop.convert("L"))
    shades = np.bincount(luma[::STEP, ::STEP].ravel(), minlength=256)
    if np.convolve(shades, (1, 1, 1)).max() >= DOMINANT_SHARE * shades.sum():
        return True
    lines = (luma[::STEP].astype(np.int16), luma[:, ::STEP].T.astype(np.int16))
    return bool(max(np.abs(np.diff(line, 2)).mean() for line in lines) >= FINE_DETAIL)


def corner_of(target: tuple[int, int], size: int) -> tuple[int, int]:
    """Left and top of the crop in the resized image."""
    return round((target[0] - size) / 2), round((target[1] - size) / 2)


def fitted(
    image: Image.Image, region: tuple[float, float], target: tuple[int, int], size: int, *, fast: bool
) -> Pixels:
    """Resizes the image's `region` (width, height from its origin) to `target`, crops its center; RGB."""
    left, top = corner_of(target, size)
    part = fast and image.mode not in NEAREST_MODES
    if not part and target[0] * target[1] <= WHOLE_PIXELS:
        whole = image.resize(target, filter_of(image), box=(0, 0, *region))
        crop = whole.crop((left, top, left + size, top + size))
    else:
        crop = crop_resized(image, (region[0] / target[0], region[1] / target[1]), (left, top), size)
    pixels: Pixels = np.asarray(crop.convert("RGB"))
    if part and is_flat(pixels):
        return fitted(image, region, target, size, fast=False)
    return pixels


def crop_resized(
    image: Image.Image, step: tuple[float, float], corner: tuple[int, int], size: int
) -> Image.Image:
    """The crop of a resized image, without resizing the rest. Only rounding differs.

    Args:
        step: pixels of the image for one pixel of the crop, horizontally and vertically.
        corner: left and top of the crop in the resized image.
    """
    box = [(at * s, (at + size) * s) for at, s in zip(corner, step, strict=True)]
    # Bicubic reads two steps beyond. Pillow stores boxes in single precision, where small numbers are exact.
    reach = [2 * max(1.0, s) + 1 for s in step]
    low = [max(0, math.floor(start - r)) for (start, _), r in zip(box, reach, strict=True)]
    high = [min(whole, math.ceil(end + r)) for (_, end), r, whole in zip(box, reach, image.size, strict=True)]
    part = image.crop((low[0], low[1], high[0], high[1]))
    (x0, x1), (y0, y1) = box
    within = (x0 - low[0], y0 - low[1], x1 - low[0], y1 - low[1])
    return part.resize((size, size), filter_of(image), box=within)


def filter_of(image: Image.Image) -> Image.Resampling:
    """The filter for an image. Pillow would average palette indices with alpha, which makes no sense."""
    return Image.Resampling.NEAREST if image.mode in NEAREST_MODES else Image.Resampling.BICUBIC
