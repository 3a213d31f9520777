"""Pillow images as messages: the server reads each as it reads the file that the image came from.

RGB goes as raw pixels. Modes for which the server has rules of its own (alpha, palettes, CMYK, 16 bits) go as
a file that keeps the mode. Pillow itself is not needed to import this module.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve.v1 import common_pb2

FILE_FORMATS = {
    "1": "PNG",
    "L": "PNG",
    "LA": "PNG",
    "P": "PNG",
    "RGBA": "PNG",
    "I;16": "PNG",
    "CMYK": "TIFF",
    "LAB": "TIFF",
    "PA": "TIFF",
}
"""The file that keeps each mode without loss."""
WITHOUT_PREMULTIPLICATION = {"La": "LA", "RGBa": "RGBA"}
FULL_RANGE_FORMATS = ("PNG", "PPM")
"""Files whose pixels, opened as mode `I`, use 0–65535."""
BITS_PER_SAMPLE = 258
"""A TIFF tag."""


def write_pillow(image: Any) -> common_pb2.Image:
    """The message for a Pillow image of any mode, without loss.

    ValueError for modes `I` and `F`, whose pixels have no agreed range. An image of mode `I` that was opened
    from a PNG or PPM has one, 0–65535.
    """
    if 0 in image.size:
        raise ValueError(f"an image must have at least one pixel, not size {image.size}")
    image.load()
    if image.mode == "F" or (image.mode == "I" and image.format not in FULL_RANGE_FORMATS):
        raise ValueError(
            f"32-bit and floating-point pixels (Pillow mode {image.mode}) have no agreed range; "
            "scale them to 0–255 and convert('L')"
        )
    if image.mode.startswith("I"):
        return as_file(sixteen_bit(image))
    if image.mode in WITHOUT_PREMULTIPLICATION:
        image = image.convert(WITHOUT_PREMULTIPLICATION[image.mode])
    if image.mode in FILE_FORMATS:
        return as_file(image)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return common_pb2.Image(raw=common_pb2.RawImage(rgb=rgb.tobytes(), width=rgb.width, height=rgb.height))


def sixteen_bit(image: Any) -> Any:
    """The image with 16-bit pixels in the byte order of mode `I;16`."""
    from PIL import Image

    return Image.frombytes("I;16", image.size, full_range(image).tobytes())


def full_range(image: Any) -> npt.NDArray[np.uint16]:
    """The pixels of a gray image of 12 or 16 bits, 0–65535, little-endian [H, W]."""
    pixels: npt.NDArray[np.uint16] = np.asarray(image).astype("<u2")
    if getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,):
        pixels <<= 4
    return pixels


def as_file(image: Any) -> common_pb2.Image:
    """The message with the image as a file of pixels alone: no EXIF, no profile, no tags of another file."""
    bare = image.copy()
    bare.info = {}
    file = io.BytesIO()
    bare.save(file, FILE_FORMATS[image.mode])
    return common_pb2.Image(content=file.getvalue())
