"""Checks JPEG files: the segments before the image, and its scans."""

from __future__ import annotations

import re

from clipserve_gateway.errors import ImageUnreadable
from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100
"""Most scans of a progressive JPEG. Encoders write about ten; libtiff has the same limit."""
MAX_HEADER_BYTES = 1 << 20
"""Most bytes of the necessary segments; tables and frame header have a few thousand."""
MAX_FILL_BYTES = 1 << 20
"""Most bytes between segments, which decoders skip. A segment of length 0 or 1 leaves its data there."""
WINDOW_BYTES = 1 << 18
"""Bytes of one search, which blocks the interpreter: 256 KiB take about 6 ms."""

# Comments, and application data except JFIF (0) and Adobe (14), which define the colors.
METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
SCAN, END, APPLICATION_1 = 0xDA, 0xD9, 0xE1
EXIF = b"Exif\0\0"
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker with a length, or the end. The pattern has no repetition: a search visits a byte at most twice."""


def check_scans(jpeg: bytes) -> None:
    """Raises ImageUnreadable for a JPEG with more than MAX_SCANS scans."""
    # This count is fast. It is an upper bound, because data after the image, such as a video, may add to it.
    if jpeg.count(b"\xff\xda") > MAX_SCANS and scans(jpeg) > MAX_SCANS:
        raise ImageUnreadable(f"the JPEG has more than {MAX_SCANS} scans")


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG without EXIF, color profile and comments. Raises ImageUnreadable."""
    kept, position, fill = [jpeg[:2]], 2, MAX_FILL_BYTES
    room = MAX_HEADER_BYTES
    for _ in range(MAX_PIECES):
        end = min(len(jpeg), position + fill + 2)
        after = marker_end(jpeg, position, end)
        if not after and end < len(jpeg):
            raise ImageUnreadable(f"the JPEG has more than {MAX_FILL_BYTES} bytes between its segments")
        if not after:
            return b"".join([*kept, jpeg[position:]])
        kind = jpeg[after - 1]
        if kind == SCAN:
            return b"".join([*kept, jpeg[after - 2 :]])
        if kind == END:
            raise ImageUnreadable("the JPEG ends before its first scan")
        fill -= after - 2 - position
        position = segment_end(jpeg, after)
        if kind not in METADATA:
            kept.append(jpeg[after - 2 : position])
            room -= len(kept[-1])
            if room < 0:
                raise ImageUnreadable(f"the JPEG has over {MAX_HEADER_BYTES} bytes before its first scan")
    raise too_many_pieces()


def exif(jpeg: bytes) -> bytes:
    """The first EXIF data before the image; empty if there is none. For files that without_metadata takes."""
    position = 2
    for _ in range(MAX_PIECES):
        position = marker_end(jpeg, position, len(jpeg))
        if not position or jpeg[position - 1] in (SCAN, END):
            return b""
        start, end = position + 2, segment_end(jpeg, position)
        if jpeg[position - 1] == APPLICATION_1 and jpeg.startswith(EXIF, start):
            return jpeg[start:end]
        position = end
    raise too_many_pieces()


def scans(jpeg: bytes) -> int:
    """Number of scans of a JPEG's first image. Counting stops above MAX_SCANS."""
    position, count = 2, 0
    for _ in range(MAX_PIECES):
        position = marker_end(jpeg, position, len(jpeg))
        if not position or jpeg[position - 1] == END:
            return count
        count += jpeg[position - 1] == SCAN
        if count > MAX_SCANS:
            return count
        position = segment_end(jpeg, position)
    raise too_many_pieces()


def marker_end(jpeg: bytes, position: int, end: int) -> int:
    """The end of the next marker from `position` on; 0 if there is none before `end`."""
    while position < end:
        match = MARKER.search(jpeg, position, min(position + WINDOW_BYTES + 1, end))
        if match:
            return match.end()
        position += WINDOW_BYTES
    return 0


def segment_end(jpeg: bytes, start: int) -> int:
    """The end of the segment whose length is at `start`."""
    return start + max(2, int.from_bytes(jpeg[start : start + 2], "big"))
