"""Converts Pillow images into messages, so that the server reads an image like its original file.

RGB is sent as raw pixels. Modes that the server converts by its own rules (alpha, palettes, CMYK, 16 bits)
are sent as a file that keeps the mode. Importing this module does not import Pillow.
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
"""The lossless file format of each mode."""
WITHOUT_PREMULTIPLICATION = {"La": "LA", "RGBa": "RGBA"}
FULL_RANGE_FORMATS = ("PNG", "PPM")
"""Formats whose pixels, opened as mode `I`, use 0–65535."""
BITS_PER_SAMPLE = 258
"""Number of a TIFF tag."""


def write_pillow(image: Any) -> common_pb2.Image:
    """The message of a Pillow image of any mode, without loss.

    Raises ValueError for modes `I` and `F`, whose pixels have no defined range. Only mode `I` from a PNG or
    PPM has one, 0–65535.
    """
    if 0 in image.size:
        raise ValueError(f"an image must have at least one pixel, not size {image.size}")
    image.load()
    if image.mode == "F" or (image.mode == "I" and image.format not in FULL_RANGE_FORMATS):
        raise ValueError(
            f"32-bit and floating-point pixels (Pillow mode {image.mode}) have no defined range; "
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
    """The image with 16-bit pixels, in the byte order of mode `I;16`."""
    from PIL import Image

    return Image.frombytes("I;16", image.size, full_range(image).tobytes())


def full_range(image: Any) -> npt.NDArray[np.uint16]:
    """The pixels of a 12-bit or 16-bit gray image, 0–65535, little-endian [H, W]."""
    pixels: npt.NDArray[np.uint16] = np.asarray(image).astype("<u2")
    if getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE) == (12,):
        pixels <<= 4
    return pixels


def as_file(image: Any) -> common_pb2.Image:
    """The image as a file with pixels only: no EXIF, no color profile, no tags of the original file."""
    bare = image.copy()
    bare.info = {}
    file = io.BytesIO()
    bare.save(file, FILE_FORMATS[image.mode])
    return common_pb2.Image(content=file.getvalue())
