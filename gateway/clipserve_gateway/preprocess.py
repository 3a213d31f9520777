"""Image bytes to the pixels that an image encoder sees.

Exact mode reproduces open_clip's (and OpenAI's) preprocessing to the bit, in their order: shortest side to
`size` (the long one to int(size × long / short)), bicubic; center crop; RGB. What follows from that order:

- EXIF orientation is not applied, and color profiles are ignored: pixels count as they are stored.
- Alpha is dropped after resizing; palette and 1-bit images are resized by nearest neighbor.
- Of animations, the first frame is taken.

Where open_clip gives no sensible picture, this module departs from it: 16-bit gray is scaled to 8 bits
(open_clip clips it to white), and floating-point pixels, which have no agreed range, are refused.

Fast mode lets the JPEG decoder scale down by 2, 4 or 8, to no less than twice the target; the target is
that of the original size, so the crop does not move.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from PIL import Image

from clipserve_gateway.errors import ImageError, ImageFormatUnsupported, ImageTooLarge, ImageUnreadable
from clipserve_gateway.types import Pixels

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

# Our own cap is checked on every header instead; Pillow's is a process-wide number.
Image.MAX_IMAGE_PIXELS = None
# Odd but readable files are no news to the server's log.
warnings.filterwarnings("ignore", module="PIL")

LONG_SIDES = 4
"""Pictures longer than so many times their short side are resized only where the crop will be."""


@dataclass(frozen=True)
class ImageLimits:
    """Caps on one image: bytes as encoded, pixels as decoded."""

    max_bytes: int
    max_pixels: int


def load_image(content: bytes, size: int, *, limits: ImageLimits, fast: bool) -> Pixels:
    """The pixels of an encoded image: uint8 [size, size, 3].

    Raises ImageUnreadable, ImageFormatUnsupported or ImageTooLarge; whatever a malformed file makes the
    decoder raise becomes ImageUnreadable. Nothing is decoded before the header has passed.
    """
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(
            f"the image has {len(content)} bytes; at most {limits.max_bytes} are accepted",
            metadata={"limit": str(limits.max_bytes)},
        )
    image = guarded(lambda: Image.open(io.BytesIO(content), formats=FORMATS))
    check_pixels(image.width, image.height, limits.max_pixels)
    target = resized(image.width, image.height, size)
    return guarded(lambda: decoded(image, target, size, fast=fast))


def load_raw(rgb: bytes, width: int, height: int, size: int, *, limits: ImageLimits) -> Pixels:
    """The pixels of a decoded picture, RGB8 row by row: uint8 [size, size, 3]. Raises ImageTooLarge."""
    check_pixels(width, height, limits.max_pixels)
    image = Image.frombuffer("RGB", (width, height), rgb, "raw", "RGB", 0, 1)
    return fitted(image, resized(width, height, size), size)


def guarded(step: Callable[[], T]) -> T:
    """A step of decoding, with whatever it raises told as what is wrong with the image."""
    try:
        return step()
    except ImageError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageUnreadable(f"not an image of a known format ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise ImageTooLarge("the image needs more memory than there is") from None
    except Exception as error:
        raise ImageUnreadable(f"the image cannot be decoded: {str(error)[:200]}") from error


def check_pixels(width: int, height: int, limit: int) -> None:
    """ImageTooLarge for a picture of more than `limit` pixels, ImageUnreadable for one of none."""
    if width < 1 or height < 1:
        raise ImageUnreadable(f"the image has {width} × {height} pixels")
    if width * height > limit:
        raise ImageTooLarge(
            f"the image has {width} × {height} pixels; at most {limit} in all are accepted",
            metadata={"limit": str(limit)},
        )


def resized(width: int, height: int, size: int) -> tuple[int, int]:
    """Width and height once the shortest side is `size`."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size


def decoded(image: Image.Image, target: tuple[int, int], size: int, *, fast: bool) -> Pixels:
    """Decodes an opened image and fits it."""
    if fast:
        image.draft("RGB", (2 * target[0], 2 * target[1]))
    image.load()
    return fitted(eight_bit(image), target, size)


def eight_bit(image: Image.Image) -> Image.Image:
    """The image with at most 8 bits a channel; 16-bit gray keeps its upper byte."""
    if image.mode.startswith("I"):
        array = np.asarray(image).astype(np.int64)
        # Mode I (32 bits) is how some 16-bit files are read; a file of small numbers is 8-bit already.
        wide = image.mode != "I" or array.max(initial=0) > 255
        return Image.fromarray(np.clip(array >> 8 if wide else array, 0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ImageFormatUnsupported("floating-point pixels have no agreed range; convert them to 8 bits")
    return image


def fitted(image: Image.Image, target: tuple[int, int], size: int) -> Pixels:
    """Resizes to `target`, crops the center, converts to RGB."""
    left, top = round((target[0] - size) / 2), round((target[1] - size) / 2)
    if max(target) > LONG_SIDES * size:
        # Resampling reads beyond the box's edges, so this equals the crop of the whole.
        across, down = image.width / target[0], image.height / target[1]
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    else:
        image = image.resize(target, Image.Resampling.BICUBIC)
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image.convert("RGB"))
