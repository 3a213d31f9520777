"""Checks PNG files: how many chunks and color profiles they have.

Pillow takes some microseconds for each chunk, and unpacks up to a megabyte of each color profile.
"""

from __future__ import annotations

from clipserve_gateway.errors import ImageUnreadable
from clipserve_gateway.inputs.image_pieces import too_many_pieces

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 1_000
"""Most chunks without pixels; ordinary files have less than twenty."""
MAX_PIXEL_CHUNKS = 50_000
"""Most chunks with pixels. A 20 MiB file in chunks of 8 KiB has 2,560; Pillow takes 5 µs for each."""
PIXELS = {b"IDAT", b"fdAT", b"fcTL"}
"""Kinds of chunks with pixels, including further frames of an animation."""


def check_png(png: bytes) -> None:
    """Raises ImageUnreadable for a PNG with too many chunks, or with two color profiles."""
    position, left, pixels_left, profiles = len(SIGNATURE), MAX_CHUNKS, MAX_PIXEL_CHUNKS, 0
    while position < len(png):
        head = png[position : position + 8]
        kind = head[4:]
        if kind == b"IEND":
            return
        if kind in PIXELS:
            pixels_left -= 1
        else:
            left -= 1
        if left < 0 or pixels_left < 0:
            raise too_many_pieces()
        profiles += kind == b"iCCP"
        if profiles > 1:
            raise ImageUnreadable("the PNG has two color profiles")
        position += 12 + int.from_bytes(head[:4], "big")
