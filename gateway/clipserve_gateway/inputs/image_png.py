"""Checks PNG files: how many chunks and color profiles they have.

Pillow takes some microseconds for each chunk, and unpacks up to a megabyte of each color profile.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    left, pixels_left, profiles = MAX_CHUNKS, MAX_PIXEL_CHUNKS, 0
    for kind, _, _ in chunks(png):
        if kind in PIXELS:
            pixels_left -= 1
        else:
            left -= 1
        if left < 0 or pixels_left < 0:
            raise too_many_pieces()
        profiles += kind == b"iCCP"
        if profiles > 1:
            raise ImageUnreadable("the PNG has two color profiles")


def exif(png: bytes) -> bytes:
    """The first EXIF data, before or after the pixels; empty if there is none."""
    return next((png[start:end] for kind, start, end in chunks(png) if kind == b"eXIf"), b"")


def chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk before the end of the image, and where its data begins and ends."""
    position = len(SIGNATURE)
    while position < len(png):
        head = png[position : position + 8]
        if head[4:] == b"IEND":
            return
        start, end = position + 8, position + 8 + int.from_bytes(head[:4], "big")
        yield head[4:], start, end
        position = end + 4
