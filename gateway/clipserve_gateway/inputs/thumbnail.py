"""Small JPEGs of stored images, as a model gets them: upright and on the background."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass

from PIL import Image

from clipserve_gateway.flow.wanted import check_wanted
from clipserve_gateway.inputs.fitting import fitted
from clipserve_gateway.inputs.image_limits import ImageLimits
from clipserve_gateway.inputs.image_memory import LARGE_BYTES
from clipserve_gateway.inputs.preprocess import Opened, guarded, open_image
from clipserve_gateway.types import ImageRules, Preprocess

QUALITY = 85
"""Of the JPEG, 1–95."""


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG in RGB, and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


def make_small_thumbnail(
    content: bytes, max_side: int, rules: ImageRules, limits: ImageLimits
) -> Thumbnail | int:
    """Like make_thumbnail. If it takes more than LARGE_BYTES of memory: only the megapixels, rounded up."""
    opened = open_to_fit(content, max_side, rules, limits)
    if opened.bytes > LARGE_BYTES:
        return math.ceil(opened.pixels / 1e6)
    return guarded(lambda: drawn(opened))


def make_thumbnail(content: bytes, max_side: int, rules: ImageRules, limits: ImageLimits) -> Thumbnail:
    """The whole image, scaled so that its longer side has at most `max_side` pixels; never enlarged.

    Raises ImageUnreadable, ImageFormatUnsupported or ImageTooLarge.
    """
    opened = open_to_fit(content, max_side, rules, limits)
    return guarded(lambda: drawn(opened))


def open_to_fit(content: bytes, max_side: int, rules: ImageRules, limits: ImageLimits) -> Opened:
    """The image after its header was checked, to be resized to at most `max_side` pixels a side."""
    opened = in_square(content, max_side, rules, limits)
    side = max(opened.image.size)
    # A JPEG that the decoder scales down is still larger than the thumbnail.
    return opened if opened.scaled or side >= max_side else in_square(content, side, rules, limits)


def in_square(content: bytes, side: int, rules: ImageRules, limits: ImageLimits) -> Opened:
    """The image, to be resized so that its longer side has `side` pixels."""
    return open_image(content, Preprocess(side, side, resize="longest"), rules, limits=limits, fast=True)


def drawn(opened: Opened) -> Thumbnail:
    """Decodes, resizes and encodes an image. An image is decoded once."""
    check_wanted("decode")
    opened.image.load()
    check_wanted("decode")
    upright = opened.steps.apply(opened.image)
    pixels = opened.fit.without_border(fitted(upright, opened.box, opened.fit, fast=False))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return Thumbnail(file.getvalue(), pixels.shape[1], pixels.shape[0])
