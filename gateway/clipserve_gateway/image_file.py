"""An encoded image as a file that a decoder may read, with bounds on what reading it can cost.

A decoder's own checks look at width and height. A small file can also be dear in other ways: thousands of
JPEG scans that each pass over the whole picture, or millions of empty chunks. Those are refused here,
from the bytes alone.
"""

from __future__ import annotations

import io
import re

from clipserve_gateway.errors import ImageFormatUnsupported, ImageUnreadable

MAX_READS = 1_000_000
"""Pieces a file may be read in. A 20 MiB PNG in chunks of 8 KiB takes 8,000; a TIFF two for every strip."""

MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders write about ten; libtiff draws the line at the same number."""

UNSUPPORTED = (
    (0, b"%PDF-", "PDF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\x00\x00\x01\x00", "icon"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "SVG or XML"),
)
"""Well-known files that are not accepted: offset, signature, name."""

_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd8\xff]")
_SCAN, _END = 0xDA, 0xD9


class BoundedFile(io.BytesIO):
    """Bytes as a file; reading it more than MAX_READS times raises ImageUnreadable."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._reads_left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ImageUnreadable("the image file is cut into too many pieces")
        return super().read(size)


def check_file(content: bytes) -> None:
    """Raises ImageUnreadable for no bytes or too many scans, ImageFormatUnsupported for known strangers."""
    if not content:
        raise ImageUnreadable("the image has no bytes")
    for offset, signature, name in UNSUPPORTED:
        if content.startswith(signature, offset):
            raise ImageFormatUnsupported(f"{name} files are not accepted; convert the image to JPEG or PNG")
    # The count is an upper bound and fast; what follows the picture's end (a video, say) may raise it.
    if (
        content.startswith(b"\xff\xd8")
        and content.count(b"\xff\xda") > MAX_SCANS
        and scans(content) > MAX_SCANS
    ):
        raise ImageUnreadable(f"the JPEG has more than {MAX_SCANS} scans")


def scans(jpeg: bytes) -> int:
    """Scans of a JPEG's first picture; counting stops once there are more than MAX_SCANS."""
    position, count = 2, 0
    while count <= MAX_SCANS and (found := _MARKER.search(jpeg, position)):
        kind, position = jpeg[found.end() - 1], found.end()
        if kind == _END:
            break
        count += kind == _SCAN
        position += int.from_bytes(jpeg[position : position + 2], "big")
    return count
