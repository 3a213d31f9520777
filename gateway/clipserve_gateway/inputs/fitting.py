"""Turns decoded images into the pixels that an encoder takes: resized, cropped or padded, RGB.

Fast mode resizes only the crop. Its rounding differs from resizing the whole image, by 1: for photographs in
one of some thousand values, for patterns between two values in up to a fifth of them. A difference of 1
matters in images that have almost one color, so these are resized whole in fast mode, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from clipserve_gateway.types import Pixels, Preprocess

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of an image."""

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


@dataclass(frozen=True)
class Fit:
    """How one image becomes an encoder's input. Sizes are (width, height) in pixels.

    Attributes:
        target: size of the whole image after resizing.
        output: size of the encoder's input.
        filter: how pixels are averaged; NEAREST_MODES are not.
        fill: value of the padding, 0–255.
    """

    target: tuple[int, int]
    output: tuple[int, int]
    filter: Image.Resampling
    fill: int

    @property
    def crops(self) -> bool:
        """Whether a part of the resized image is cut off."""
        return self.target[0] > self.output[0] or self.target[1] > self.output[1]

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top of the input in the resized image; 0 where the image is padded."""
        across, down = (whole - part for whole, part in zip(self.target, self.shown, strict=True))
        return round(across / 2), round(down / 2)

    @property
    def shown(self) -> tuple[int, int]:
        """Size of the part of the resized image that the input shows."""
        return min(self.target[0], self.output[0]), min(self.target[1], self.output[1])

    @property
    def border(self) -> tuple[int, int, int, int]:
        """Padding at the left, top, right and bottom; the larger half is at the right and bottom."""
        across, down = (whole - part for whole, part in zip(self.output, self.shown, strict=True))
        return across // 2, down // 2, across - across // 2, down - down // 2

    def without_border(self, pixels: Pixels) -> Pixels:
        """The part of an input that is not padding."""
        left, top, _, _ = self.border
        return pixels[top : top + self.shown[1], left : left + self.shown[0]]


def fit_of(width: int, height: int, preprocess: Preprocess) -> Fit:
    """How an image of this size becomes the input, by open_clip's rules.

    open_clip resizes to a shape that is not square, in mode `shortest`, always bicubic. In mode `longest` it
    fails for an image whose short side would have no pixel; here it gets one.
    """
    output = preprocess.width, preprocess.height
    across, down = width / output[0], height / output[1]
    square = output[0] == output[1]
    if preprocess.resize == "squash":
        target = output
    elif preprocess.resize == "shortest" and square:
        short = output[0]
        target = (
            (short, int(short * height / width)) if width <= height else (int(short * width / height), short)
        )
    else:
        ratio = min(across, down) if preprocess.resize == "shortest" else max(across, down)
        target = max(1, round(width / ratio)), max(1, round(height / ratio))
    bilinear = preprocess.interpolation == "bilinear" and (square or preprocess.resize != "shortest")
    filter = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
    return Fit(target, output, filter, preprocess.fill)


def eight_bit(image: Image.Image) -> Image.Image:
    """The image with at most 8 bits a channel: the upper eight of gray with 16 bits, or 12 in a TIFF."""
    if image.mode.startswith("I"):
        twelve = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,)
        return Image.fromarray((np.asarray(image) >> (4 if twelve else 8)).clip(0, 255).astype(np.uint8))
    return image


def is_flat(pixels: Pixels) -> bool:
    """Whether an image has almost one color."""
    return float(pixels[::4, ::4].reshape(-1, 3).std(axis=0).max()) < FLAT


def is_delicate(image: Image.Image, box: Box, fit: Fit) -> bool:
    """Whether scaled decoding would change the content of an input; arguments as those of `fitted`.

    The pixels of a scaled JPEG are means. They lose colors of thin lines, and patterns about as fine as the
    JPEG's blocks. This matters in halftones, and in images of lines on one background.
    """
    (x0, x1), (y0, y1) = shown_box(box, fit)
    luma = np.asarray(image.crop((round(x0), round(y0), round(x1), round(y1))).convert("L"))
    shades = np.bincount(luma[::STEP, ::STEP].ravel(), minlength=256)
    if np.convolve(shades, (1, 1, 1)).max() >= DOMINANT_SHARE * shades.sum():
        return True
    lines = (luma[::STEP].astype(np.int16), luma[:, ::STEP].T.astype(np.int16))
    return bool(max(np.abs(np.diff(line, 2)).mean() for line in lines) >= FINE_DETAIL)


def steps(box: Box, fit: Fit) -> tuple[float, float]:
    """Pixels of the image for one pixel of the input, horizontally and vertically."""
    return (box[2] - box[0]) / fit.target[0], (box[3] - box[1]) / fit.target[1]


def shown_box(box: Box, fit: Fit) -> list[tuple[float, float]]:
    """Where the part of the image that the input shows begins and ends, horizontally and vertically."""
    places = zip(box[:2], fit.corner, fit.shown, steps(box, fit), strict=True)
    return [(start + at * step, start + (at + size) * step) for start, at, size, step in places]


def fitted(image: Image.Image, box: Box, fit: Fit, *, fast: bool) -> Pixels:
    """Resizes the part of the image in `box`, crops or pads it; RGB, uint8 [height, width, 3]."""
    part = fast and fit.crops and image.mode not in NEAREST_MODES
    if not part and fit.target[0] * fit.target[1] <= WHOLE_PIXELS:
        left, top = fit.corner
        whole = image.resize(fit.target, filter_of(image, fit), box=box)
        shown = whole.crop((left, top, left + fit.shown[0], top + fit.shown[1])) if fit.crops else whole
    else:
        shown = crop_resized(image, box, fit)
    pixels: Pixels = np.asarray(padded(shown, fit).convert("RGB"))
    if part and is_flat(pixels):
        return fitted(image, box, fit, fast=False)
    return pixels


def padded(image: Image.Image, fit: Fit) -> Image.Image:
    """The image with its border. Each channel gets `fill`, as in open_clip, before it becomes RGB."""
    if not any(fit.border):
        return image
    channels = len(image.getbands())
    return ImageOps.expand(image, fit.border, fit.fill if channels == 1 else (fit.fill,) * channels)


def crop_resized(image: Image.Image, box: Box, fit: Fit) -> Image.Image:
    """The crop of a resized image, without resizing the rest. Only rounding differs."""
    crop = shown_box(box, fit)
    # Bicubic reads two steps beyond. Pillow stores boxes in single precision, where small numbers are exact.
    reach = [2 * max(1.0, step) + 1 for step in steps(box, fit)]
    low = [max(0, math.floor(start - r)) for (start, _), r in zip(crop, reach, strict=True)]
    high = [min(side, math.ceil(end + r)) for (_, end), r, side in zip(crop, reach, image.size, strict=True)]
    part = image.crop((low[0], low[1], high[0], high[1]))
    (x0, x1), (y0, y1) = crop
    within = (x0 - low[0], y0 - low[1], x1 - low[0], y1 - low[1])
    return part.resize(fit.shown, filter_of(image, fit), box=within)


def filter_of(image: Image.Image, fit: Fit) -> Image.Resampling:
    """The filter for an image. Pillow would average palette indices with alpha, which makes no sense."""
    return Image.Resampling.NEAREST if image.mode in NEAREST_MODES else fit.filter
