"""Reads the EXIF orientation of an image file, without its other metadata.

Reads what browsers read: EXIF in a JPEG, PNG or WebP, and not XMP or text chunks. Pillow would read all tags,
and decode a PNG whose EXIF may follow its pixels. A TIFF's own orientation is not read here: its decoder
always applies it.
"""

from __future__ import annotations

import struct

from clipserve_gateway.errors import ImageUnreadable
from clipserve_gateway.inputs import image_blocks, image_jpeg, image_png, image_tiff

UPRIGHT = 1
ORIENTATION = 274
"""Number of the tag."""
SDK_ORIENTATION = 65_274
"""A private tag of the TIFFs that the SDK makes of Pillow images: the orientation in their EXIF."""
MOST_TAGS = 65_535
"""Their number has 16 bits. Reading so many takes some milliseconds."""
NUMBERS = {3: "H", 4: "L"}
"""Types of integers in a tag, and their format."""
ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def orientation_of(content: bytes) -> int:
    """The orientation, 1–8; 1 if the file has none, or none that is valid.

    Takes files that `open_file` accepted: it bounds their segments and chunks.
    """
    if content.startswith(image_jpeg.SIGNATURE):
        return read_tag(image_jpeg.exif(content))
    if content.startswith(image_png.SIGNATURE):
        return read_tag(image_png.exif(content))
    if image_blocks.is_webp(content):
        return read_tag(image_blocks.webp_exif(content))
    return read_tag(content, SDK_ORIENTATION)


def read_tag(exif: bytes, wanted: int = ORIENTATION) -> int:
    """The orientation in a tag of EXIF data, which has the form of a TIFF; of equal tags, in the last one."""
    exif = exif.removeprefix(image_jpeg.EXIF)
    order = ORDERS.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        _, entries = image_tiff.directory(exif, image_tiff.Layout(order, big=False), MOST_TAGS)
    except ImageUnreadable:
        return UPRIGHT
    found = [entry for entry in entries if entry[0] == wanted and entry[1] in image_tiff.VALUE_BYTES]
    for _, kind, count, where in found[-1:]:
        if kind in NUMBERS and count == 1:
            (value,) = struct.unpack_from(order + NUMBERS[kind], where)
            return value if value in range(1, 9) else UPRIGHT
    return UPRIGHT
