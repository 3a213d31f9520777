"""Limits of an image, which are checked before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from clipserve_gateway.errors import ImageFormatUnsupported, ImageTooLarge, ImageUnreadable
from clipserve_gateway.inputs.image_decoders import SLOW_BYTES, SLOW_DECODERS
from clipserve_gateway.inputs.image_memory import MAX_RUN_LENGTH_WIDTH, tile_size

MAX_SIDE = 1_000_000
"""Most rows and columns of an image. Decoders store some bytes for each row, even for a short one."""


@dataclass(frozen=True)
class ImageLimits:
    """Limits of one image: bytes as encoded, pixels as decoded.

    Decoding takes up to image_memory.MOST_BYTES of memory a pixel.
    """

    max_bytes: int
    max_pixels: int

    def __post_init__(self) -> None:
        # Pillow's own limit is one number for the process and must not be below these.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, self.max_pixels)


def check_header(image: Image.Image, length: int, limits: ImageLimits) -> None:
    """Refuses an opened image for its size, a slow encoding, or pixels without an agreed range."""
    check_pixels(image.width, image.height, limits.max_pixels)
    if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
        raise ImageFormatUnsupported(
            "32-bit and floating-point pixels have no agreed range; convert them to 8 bits"
        )
    check_pixels(*tile_size(image), limits.max_pixels)
    decoders = {tile[0] for tile in getattr(image, "tile", ())}
    if "bmp_rle" in decoders and image.width > MAX_RUN_LENGTH_WIDTH:
        raise ImageTooLarge(
            f"run-length encoded BMPs may be at most {MAX_RUN_LENGTH_WIDTH} pixels wide; use PNG",
            metadata={"limit": str(MAX_RUN_LENGTH_WIDTH)},
        )
    if decoders & SLOW_DECODERS and length > SLOW_BYTES:
        raise ImageTooLarge(
            f"{image.format} files of this kind may have at most {SLOW_BYTES} bytes; use PNG",
            metadata={"limit": str(SLOW_BYTES)},
        )


def check_pixels(width: int, height: int, limit: int) -> None:
    """Raises ImageTooLarge for more than `limit` pixels, ImageUnreadable for none."""
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
