"""Converts Pillow images into messages, so that the server reads an image like its original file.

RGB is sent as raw pixels. Modes that the server converts by its own rules (alpha, palettes, CMYK, 16 bits)
are sent as a file that keeps the mode. The EXIF orientation and the transparent color go with the pixels, so
that the server's rules decide about them. Importing this module does not import Pillow.
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
    "RGB": "PNG",
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
BITS_PER_SAMPLE, ORIENTATION = 258, 274
"""Numbers of tags."""
SDK_ORIENTATION = 65_274
"""A private TIFF tag with the EXIF orientation: decoders always apply a TIFF's own, whatever the rules."""
UPRIGHT = 1


def write_pillow(image: Any) -> common_pb2.Image:
    """The message of a Pillow image of any mode, without loss.

    Raises ValueError for modes `I` and `F`, whose pixels have no defined range. Only mode `I` from a PNG or
    PPM has one, 0–65535.
    """
    if 0 in image.size:
        raise ValueError(f"an image must have at least one pixel, not size {image.size}")
    image.load()
    orientation = orientation_of(image)
    if image.mode == "F" or (image.mode == "I" and image.format not in FULL_RANGE_FORMATS):
        raise ValueError(
            f"32-bit and floating-point pixels (Pillow mode {image.mode}) have no defined range; "
            "scale them to 0–255 and convert('L')"
        )
    if image.mode.startswith("I"):
        return as_file(sixteen_bit(image), orientation, image.info.get("transparency"))
    if image.mode in WITHOUT_PREMULTIPLICATION:
        image = image.convert(WITHOUT_PREMULTIPLICATION[image.mode])
    transparent = image.info.get("transparency")
    if image.mode in FILE_FORMATS and (image.mode != "RGB" or transparent is not None):
        return as_file(image, orientation, transparent)
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    raw = common_pb2.RawImage(rgb=rgb.tobytes(), width=rgb.width, height=rgb.height)
    if orientation != UPRIGHT:
        raw.orientation = orientation
    return common_pb2.Image(raw=raw)


def orientation_of(image: Any) -> int:
    """The orientation in the EXIF of a loaded image's file, 1–8; 1 if there is none.

    Like the server, it ignores XMP, and orientations that Pillow has applied already, as of TIFFs.
    """
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        tag = exif.get(ORIENTATION, getattr(image, "tag_v2", {}).get(SDK_ORIENTATION))
    except Exception:  # Pillow raises any error for broken EXIF
        return UPRIGHT
    return tag if isinstance(tag, int) and 1 <= tag <= 8 else UPRIGHT


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


def as_file(image: Any, orientation: int = UPRIGHT, transparent: Any = None) -> common_pb2.Image:
    """The image as a file with pixels, orientation and transparent color, and without other metadata."""
    from PIL import Image

    bare = image.copy()
    bare.info = {} if transparent is None else {"transparency": transparent}
    format = FILE_FORMATS[image.mode]
    options: dict[str, Any] = {}
    if orientation != UPRIGHT and format == "TIFF":
        options["tiffinfo"] = {SDK_ORIENTATION: orientation}
    elif orientation != UPRIGHT:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    file = io.BytesIO()
    bare.save(file, format, **options)
    return common_pb2.Image(content=file.getvalue())
