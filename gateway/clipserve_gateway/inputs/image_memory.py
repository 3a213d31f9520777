"""What decoding an image takes of memory, told from its header.

Bounds, as measured with Pillow 12 and its libraries; the tests measure again. A small file can be dear: a
WebP of three kilobytes may have the pixels of a large photograph, and its decoder keeps four copies of them.
"""

from __future__ import annotations

from PIL import Image

MOST_BYTES = 17
"""For one pixel, whatever the file is; 40 MiB more for an image."""

LARGE_BYTES = 128 << 20
"""Images that take no more are decoded side by side, on every thread; those that take more, one at a time."""

BUFFER_BYTES = 4 << 20
"""For rows, tables and the like, whatever the image is."""

WEBP_BYTES = 17
"""A canvas and the one before it, the frame, and Pillow's copies; four bytes each."""
TIFF_BYTES = 16
"""A strip may be the whole picture, of up to four samples of 16 bits, beside Pillow's own pixels."""
RUN_LENGTH_BYTES = 3
OVERSHOOT_ROWS = 2 * 255
MAX_RUN_LENGTH_WIDTH = 65_535
"""A run-length coded BMP is unpacked up to 255 rows beyond its end, and copied."""
COEFFICIENT_BYTES = 2
"""A JPEG of several scans is kept as coefficients, one for each pixel and component, until the last scan."""

PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "LA": 8, "PA": 8, "RGBA": 8, "I;16": 8, "I;16B": 8, "I": 16}
"""Of other formats, by mode: 4 but for these. Alpha is multiplied in a copy, 16 bits become 8 in several."""

TILE_WIDTH, TILE_LENGTH = 322, 323
"""TIFF tags."""


def decoder_bytes(image: Image.Image, pixels: int, content: bytes) -> int:
    """Bytes at most while an opened image is decoded, its pixels included.

    Args:
        pixels: in the file; a JPEG that is scaled on the way has fewer now.
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


def tile_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of a TIFF's tile, which is unpacked whole, even where it is larger than the image."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)
