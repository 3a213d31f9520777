"""What an image may be: bounds that are checked before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from clipserve_gateway.errors import ImageFormatUnsupported, ImageTooLarge, ImageUnreadable
from clipserve_gateway.inputs.image_decoders import SLOW_BYTES, SLOW_DECODERS
from clipserve_gateway.inputs.image_memory import MAX_RUN_LENGTH_WIDTH, tile_size

MAX_SIDE = 1_000_000
"""Rows and columns of one image: a decoder keeps some bytes for each row, however short it is."""


@dataclass(frozen=True)
class ImageLimits:
    """Caps on one image: bytes as encoded, pixels as decoded.

    Decoding takes up to image_memory.MOST_BYTES of memory a pixel.
    """

    max_bytes: int
    max_pixels: int

    def __post_init__(self) -> None:
        # Pillow's own cap is one number for the process, and a decoder's last net: it must not be below ours.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, self.max_pixels)


def check_header(image: Image.Image, length: int, limits: ImageLimits) -> None:
    """What can be refused before an opened image is decoded: size, dear encodings, pixels without a range."""
    check_pixels(image.width, image.height, limits.max_pixels)
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ImageFormatUnsupported(
            "32-bit and floating-point pixels have no agreed range; convert them to 8 bits"
        )
    check_pixels(*tile_size(image), limits.max_pixels)
    decoders = {tile[0] for tile in getattr(image, "tile", ())}
    if "bmp_rle" in decoders and image.width > MAX_RUN_LENGTH_WIDTH:
        raise ImageTooLarge(
            f"run-length coded BMPs may be at most {MAX_RUN_LENGTH_WIDTH} pixels wide; use PNG",
            metadata={"limit": str(MAX_RUN_LENGTH_WIDTH)},
        )
    if decoders & SLOW_DECODERS and length > SLOW_BYTES:
        raise ImageTooLarge(
            f"{image.format} files of this kind may have at most {SLOW_BYTES} bytes; use PNG",
            metadata={"limit": str(SLOW_BYTES)},
        )


def check_pixels(width: int, height: int, limit: int) -> None:
    """ImageTooLarge for a picture of more than `limit` pixels, ImageUnreadable for one of none."""
    if width < 1 or height < 1:
        raise ImageUnreadable(f"the image has {width} × {height} pixels")
    if width * height > limit:
        raise ImageTooLarge(
            f"the image has {width} × {height} pixels; at most {limit} in all are accepted",
            metadata={"limit": str(limit)},
        )
    if max(width, height) > MAX_SIDE:
        raise ImageTooLarge(
            f"the image has {width} × {height} pixels; at most {MAX_SIDE} to a side are accepted",
            metadata={"limit": str(MAX_SIDE)},
        )
