"""JPEG files: the segments before the picture, and the picture's scans."""

from __future__ import annotations

import re

from clipserve_gateway.errors import ImageUnreadable
from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

SIGNATURE = b"\xff\xd8\xff"
MAX_SCANS = 100
"""Scans of a progressive JPEG. Encoders write about ten; libtiff draws the line at the same number."""
MAX_HEADER_BYTES = 1 << 20
"""Of the segments that are kept; tables and the frame's header have a few thousand bytes."""
MAX_FILL_BYTES = 1 << 20
"""Between segments. Decoders skip them; a segment of declared length 0 or 1 leaves its data there."""
WINDOW_BYTES = 1 << 18
"""Searched at a time. A search holds the interpreter: 256 KiB take at most some 6 ms."""

# Application data but for JFIF (0) and Adobe (14), which say how colors are coded; comments.
METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
SCAN, END = 0xDA, 0xD9
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker that has a length, or the end. Without a repeat in it, a search visits each byte at most twice."""


def check_scans(jpeg: bytes) -> None:
    """ImageUnreadable for a JPEG of more than MAX_SCANS scans."""
    # The count is an upper bound, and fast: what follows the picture's end (a video, say) may raise it.
    if jpeg.count(b"\xff\xda") > MAX_SCANS and scans(jpeg) > MAX_SCANS:
        raise ImageUnreadable(f"the JPEG has more than {MAX_SCANS} scans")


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG without EXIF, color profile and the like. ImageUnreadable for too many pieces, or no picture."""
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
            raise ImageUnreadable("the JPEG ends before its picture")
        fill -= after - 2 - position
        position = segment_end(jpeg, after)
        if kind not in METADATA:
            kept.append(jpeg[after - 2 : position])
            room -= len(kept[-1])
            if room < 0:
                raise ImageUnreadable(f"the JPEG has more than {MAX_HEADER_BYTES} bytes before its picture")
    raise too_many_pieces()


def scans(jpeg: bytes) -> int:
    """Scans of a JPEG's first picture; counting stops once there are more than MAX_SCANS."""
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
    """Where the next marker ends that begins at `position` or behind it; 0 if none does before `end`."""
    while position < end:
        found = MARKER.search(jpeg, position, min(position + WINDOW_BYTES + 1, end))
        if found:
            return found.end()
        position += WINDOW_BYTES
    return 0


def segment_end(jpeg: bytes, start: int) -> int:
    """Where the segment ends whose length stands at `start`."""
    return start + max(2, int.from_bytes(jpeg[start : start + 2], "big"))
