"""Decoded pictures become the pixels that an image encoder sees: resized, cropped, RGB.

Fast mode resizes no more than the crop. Its rounding differs from that of resizing the whole: of a photograph
one value in some thousands, of patterns that lie between two values up to a fifth, by 1 each. So pictures
that are almost of one color, where a difference of 1 counts, are resized whole in fast mode too.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from clipserve_gateway.types import Pixels

WHOLE_PIXELS = 1 << 24
"""Up to so many pixels (64 MiB) a resized image is made whole, as open_clip does; beyond, only its crop."""

NEAREST_MODES = ("1", "P", "PA")
"""Resized by nearest neighbor, where a rounding chooses another pixel."""
BITS_PER_SAMPLE = 258
"""A TIFF tag."""
FLAT = 3.0
"""Standard deviation, of 255, of the strongest color below which a picture is almost of one color."""
DOMINANT_SHARE = 0.4
"""Of a crop's pixels, in one shade give or take one: drawings, text pages and screenshots have more."""
FINE_DETAIL = 30.0
"""Mean second difference of neighbors, of 255: halftones have more, photographs rarely."""
STEP = 8
"""Of the pixels, rows and columns of a crop, every so many are looked at."""


def resized(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height once the shortest side is `size`."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def eight_bit(image: Image.Image) -> Image.Image:
    """The image with at most 8 bits a channel: of gray with 16 bits (a TIFF's 12), the upper eight."""
    if image.mode.startswith("I"):
        twelve = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,)
        return Image.fromarray((np.asarray(image) >> (4 if twelve else 8)).clip(0, 255).astype(np.uint8))
    return image


def is_flat(pixels: Pixels) -> bool:
    """Whether a picture is almost of one color."""
    return float(pixels[::4, ::4].reshape(-1, 3).std(axis=0).max()) < FLAT


def is_delicate(image: Image.Image, region: tuple[float, float], target: tuple[int, int], size: int) -> bool:
    """Whether scaled decoding changes what the model sees of a decoded crop; arguments as those of `fitted`.

    A scaled JPEG has the means of its pixels, less what lies between them: colors of thin lines, and patterns
    about as fine as its blocks. That counts where there is little else to see than lines on one background,
    and in halftones.
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
    """Left and top of the crop in the resized picture."""
    return round((target[0] - size) / 2), round((target[1] - size) / 2)


def fitted(
    image: Image.Image, region: tuple[float, float], target: tuple[int, int], size: int, *, fast: bool
) -> Pixels:
    """Resizes the image's `region` (width, height from its origin) to `target`, crops the center; RGB."""
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
    """The crop of a resized image that is never made whole; differs from it by rounding at most.

    Args:
        step: pixels of the image for one pixel of the crop, across and down.
        corner: left and top of the crop in the resized image.
    """
    box = [(at * s, (at + size) * s) for at, s in zip(corner, step, strict=True)]
    # Bicubic reads two steps beyond. Pillow keeps a box in single precision: small numbers stay exact.
    reach = [2 * max(1.0, s) + 1 for s in step]
    low = [max(0, math.floor(start - r)) for (start, _), r in zip(box, reach, strict=True)]
    high = [min(whole, math.ceil(end + r)) for (_, end), r, whole in zip(box, reach, image.size, strict=True)]
    part = image.crop((low[0], low[1], high[0], high[1]))
    (x0, x1), (y0, y1) = box
    within = (x0 - low[0], y0 - low[1], x1 - low[0], y1 - low[1])
    return part.resize((size, size), filter_of(image), box=within)


def filter_of(image: Image.Image) -> Image.Resampling:
    """How an image is resized; Pillow itself does not know that palette indices with alpha have no mean."""
    return Image.Resampling.NEAREST if image.mode in NEAREST_MODES else Image.Resampling.BICUBIC
