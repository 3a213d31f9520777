"""Reduces TIFF files to the tags that the first image needs.

Pillow makes a Python object of each value of a tag that it reads, and follows directories within directories.
So tags that the pixels do not need are removed first, and the others may have a bounded number of values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from clipserve_gateway.errors import ImageUnreadable
from clipserve_gateway.inputs.image_pieces import too_many_pieces

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0")
LAYOUT_TAGS = {256, 257, 277, 278, 322, 323}
"""Tags with the sizes of the image, its samples, strips and tiles."""
LAYOUT_TYPES = {3, 4, 16}
"""Types of integers with 2, 4 and 8 bytes."""
MAX_TAGS = 4_096
"""Most tags of the first directory; the standard defines less than a hundred."""
MAX_STRIPS = 65_536
"""Most strips or tiles. Pillow takes about 20 µs for each."""
MAX_VALUES = 64
"""Most values of all other tags."""

VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value, by its type."""
VALUES = {
    **dict.fromkeys((273, 279, 324, 325), MAX_STRIPS),  # offsets and sizes of strips and tiles
    320: 3 << 16,  # color map
    **dict.fromkeys((347, 519, 520, 521), 1 << 20),  # JPEG tables, as bytes
}
"""Most values of tags that may have many."""
NEEDED = {
    *range(254, 260), 262, 266, 274, 277, 278, 284, 292, 293, 317, 322, 323, 332, 334, 336, 338, 339,
    *range(512, 519), 529, 530, 531, 532, 50_674, 48_129, *VALUES,
}  # fmt: skip
"""Tags for sizes, samples, colors, compression and offsets, and those that mark special kinds of files."""


@dataclass(frozen=True)
class Layout:
    """How a file stores numbers: byte order, and whether it is a BigTIFF."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        """Format of a directory's number of entries."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def offset(self) -> struct.Struct:
        """Format of an offset in the file."""
        return struct.Struct(self.order + ("Q" if self.big else "L"))

    @property
    def entry(self) -> struct.Struct:
        """Format of an entry: tag, type, number of values, values or their offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHL4s"))


def essential_tiff(tiff: bytes) -> bytes:
    """The same file with only the first directory, and only its needed tags.

    Raises ImageUnreadable if Pillow and libtiff would read different sizes, because the size that libtiff
    reads could be enormous: of two equal tags, Pillow uses the last and libtiff the first, and each supports
    types of numbers that the other skips. Also raises it for too many tags or values, and for values outside
    the file.
    """
    layout = Layout("<" if tiff.startswith(b"II") else ">", tiff.startswith(b"II+"))
    start, entries = directory(tiff, layout)
    tags = [tag for tag, *_ in entries]
    if len(set(tags)) < len(tags):
        raise ImageUnreadable("the TIFF has the same tag twice")
    if any(tag in LAYOUT_TAGS and kind not in LAYOUT_TYPES for tag, kind, *_ in entries):
        raise ImageUnreadable("the TIFF gives its size in numbers of the wrong type")
    for tag, kind, values, where in entries:
        size = VALUE_BYTES.get(kind, 0) * values
        if size > len(where) and layout.offset.unpack(where)[0] + size > len(tiff):
            raise ImageUnreadable(f"the TIFF ends before the values of its tag {tag}")
    needed = [entry for entry in entries if entry[0] in NEEDED]
    for tag, _, values, _ in needed:
        if values > VALUES.get(tag, MAX_VALUES):
            limit = VALUES.get(tag, MAX_VALUES)
            raise ImageUnreadable(f"the TIFF has {values} values of tag {tag}; at most {limit} are accepted")
    written = b"".join(layout.entry.pack(*entry) for entry in needed)
    made = layout.count.pack(len(needed)) + written + layout.offset.pack(0)
    return b"".join([tiff[:start], made, tiff[start + len(made) :]])


def directory(
    tiff: bytes, layout: Layout, most: int = MAX_TAGS
) -> tuple[int, list[tuple[int, int, int, bytes]]]:
    """The offset of the first directory, and its entries. Raises ImageUnreadable for more than `most`."""
    where = 8 if layout.big else 4
    try:
        (start,) = layout.offset.unpack(tiff[where : where + layout.offset.size])
        (count,) = layout.count.unpack(tiff[start : start + layout.count.size])
        if count > most:
            raise too_many_pieces()
        first = start + layout.count.size
        end = first + layout.entry.size * count
        return start, list(layout.entry.iter_unpack(tiff[first:end]))
    except (struct.error, OverflowError):
        raise ImageUnreadable("the TIFF ends before the end of its directory") from None
