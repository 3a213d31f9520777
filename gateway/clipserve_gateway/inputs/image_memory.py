"""Upper bounds of the memory for decoding an image, from its header.

They were measured with Pillow 12 and its libraries; tests measure them again. A small file can need much
memory: a WebP of 3 KB may have the pixels of a large photograph, and its decoder keeps four copies of them.
"""

from __future__ import annotations

from PIL import Image

MOST_BYTES = 17
"""Most bytes for one pixel of any file; each image takes up to 40 MiB more."""

LARGE_BYTES = 128 << 20
"""Images that take at most this are decoded on all threads at the same time; larger ones one at a time."""

BUFFER_BYTES = 4 << 20
"""For rows, tables and buffers of any image."""

WEBP_BYTES = 17
"""The canvas, the previous canvas, the frame, and Pillow's copies: four bytes a pixel each."""
TIFF_BYTES = 16
"""A strip may be the whole image, with up to four samples of 16 bits, beside Pillow's own pixels."""
RUN_LENGTH_BYTES = 3
OVERSHOOT_ROWS = 2 * 255
MAX_RUN_LENGTH_WIDTH = 65_535
"""A run-length encoded BMP is unpacked up to 255 rows beyond its end, and copied."""
COEFFICIENT_BYTES = 2
"""A JPEG with several scans is stored as one coefficient per pixel and component until its last scan."""

COPY_BYTES = 8
"""An image in RGB, and its copy upright or on a background."""
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 8, "PA": 8, "RGBA": 8, "I;16": 8, "I;16B": 8, "I": 16}
"""For other formats, by mode; 4 for other modes. Alpha takes a copy; converting 16 bits to 8, several."""

TILE_WIDTH, TILE_LENGTH = 322, 323
"""Numbers of TIFF tags."""


def decoder_bytes(image: Image.Image, pixels: int, content: bytes) -> int:
    """Most bytes for decoding an opened image, its pixels included.

    Args:
        pixels: pixels in the file; a JPEG that the decoder scales down has fewer in `image`.
    """
    if image.format == "JPEG":
        several = content.count(b"\xff\xda") > 1
        coefficients = COEFFICIENT_BYTES * len(image.getbands()) * pixels if several else 0
        return coefficients + 4 * image.width * image.height
    if image.format == "WEBP":
        return WEBP_BYTES * pixels
    if image.format == "TIFF":
        width, height = tile_size(image)
        return TIFF_BYTES * max(pixels, width * height)
    if any(tile[0] == "bmp_rle" for tile in getattr(image, "tile", ())):
        return RUN_LENGTH_BYTES * pixels + OVERSHOOT_ROWS * image.width
    return PIXEL_BYTES.get(image.mode, 4) * pixels


def copy_bytes(image: Image.Image) -> int:
    """Most bytes for an image that is decoded, and its copy upright or on a background.

    A WebP's decoder keeps two more copies. An image with alpha is freed before the next copy.
    """
    kept = COPY_BYTES if image.format == "WEBP" else 0
    return (COPY_BYTES + kept) * image.width * image.height


def tile_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a TIFF's tile, which may be larger than the image and is unpacked whole."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)
