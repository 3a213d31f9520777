"""An encoded image as a file that a decoder may read, with bounds on what reading it can cost.

A decoder's own checks look at width and height. A small file can also be dear in other ways: hundreds of
JPEG scans that each pass over the whole picture, millions of empty chunks, a thousand tags that all point
to the same megabytes. Those are refused here, or left out where they do not matter to the pixels.
"""

from __future__ import annotations

import io
import re
import struct

from clipserve_gateway.errors import ImageFormatUnsupported, ImageUnreadable

READS_TO_OPEN = 10_000
"""Reads until the picture itself begins; ordinary files take less than a hundred."""

READS_TO_DECODE = 1_000_000
"""Reads of the picture. A 20 MiB PNG in chunks of 8 KiB takes 8,000; a TIFF takes two for every strip."""

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
    # Pillow takes these for small ones.
    (0, b"MM\0+", "big-endian BigTIFF"),
)
"""Well-known files that are not accepted: offset, signature, name."""

JPEG = b"\xff\xd8\xff"
# Application data but for JFIF (0) and Adobe (14), which say how colors are coded; comments.
_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
_SCAN, _END = 0xDA, 0xD9
TIFF = (b"II*\0", b"MM\0*", b"II+\0")
LAYOUT_TAGS = {256, 257, 277, 278, 322, 323}
"""TIFF's sizes of the picture, its samples, strips and tiles."""
LAYOUT_TYPES = {3, 4, 16}
"""Whole numbers of 2, 4 and 8 bytes."""

_MARKER = re.compile(rb"\xff+[^\x00\x01\xd0-\xd8\xff]")


class BoundedFile(io.BytesIO):
    """Bytes as a file that may be read only so often, and so much in all; ImageUnreadable beyond."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads_left = READS_TO_OPEN
        # Pillow reads a TIFF's tags twice, then its pixels.
        self._bytes_left = 4 * len(content) + (1 << 20)

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        piece = super().read(size)
        self._bytes_left -= len(piece)
        if self.reads_left < 0 or self._bytes_left < 0:
            raise ImageUnreadable("the image file is cut into too many pieces")
        return piece


def open_file(content: bytes) -> BoundedFile:
    """The image file, without what its pixels do not need.

    Raises ImageUnreadable for no bytes, for JPEGs of too many parts and for TIFFs that can be read in two
    ways, ImageFormatUnsupported for files of known other kinds.
    """
    if not content:
        raise ImageUnreadable("the image has no bytes")
    for offset, signature, name in UNSUPPORTED:
        if content.startswith(signature, offset):
            raise ImageFormatUnsupported(f"{name} files are not accepted; convert the image to JPEG or PNG")
    if content.startswith(JPEG):
        content = without_metadata(content)
        # The count is an upper bound, and fast: what follows the picture's end (a video, say) may raise it.
        if content.count(b"\xff\xda") > MAX_SCANS and scans(content) > MAX_SCANS:
            raise ImageUnreadable(f"the JPEG has more than {MAX_SCANS} scans")
    if content.startswith(TIFF):
        check_tags(content)
    return BoundedFile(content)


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG without EXIF, color profile and the like; ImageUnreadable for too many of them."""
    kept, position = [jpeg[:2]], 2
    for _ in range(READS_TO_OPEN):
        found = _MARKER.search(jpeg, position)
        if not found or jpeg[found.end() - 1] in (_SCAN, _END):
            return b"".join([*kept, jpeg[position:]])
        end = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
        if jpeg[found.end() - 1] not in _METADATA:
            kept.append(jpeg[found.end() - 2 : end])
        position = end
    raise ImageUnreadable("the image file is cut into too many pieces")


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


def check_tags(tiff: bytes) -> None:
    """ImageUnreadable for a directory in which Pillow and libtiff would find different sizes.

    Of a tag that is there twice, Pillow believes the last and libtiff the first; and each knows types of
    numbers that the other skips. What Pillow has found harmless must not be enormous to libtiff.
    """
    order = "<" if tiff.startswith(b"II") else ">"
    big = tiff.startswith(b"II+")
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "L"), tiff, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), tiff, start)
        entry = struct.Struct(order + ("HHQQ" if big else "HHLL"))
        first = start + (8 if big else 2)
        directory = tiff[first : first + entry.size * min(count, READS_TO_OPEN)]
        entries = list(entry.iter_unpack(directory))
    except (struct.error, OverflowError):
        raise ImageUnreadable("the TIFF ends before its directory does") from None
    tags = [tag for tag, *_ in entries]
    if len(set(tags)) < len(tags):
        raise ImageUnreadable("the TIFF has a tag twice")
    if any(tag in LAYOUT_TAGS and kind not in LAYOUT_TYPES for tag, kind, *_ in entries):
        raise ImageUnreadable("the TIFF gives its size in numbers of the wrong type")
