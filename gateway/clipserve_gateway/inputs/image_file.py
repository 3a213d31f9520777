"""Prepares an encoded image for a decoder, and bounds the cost of reading it.

Decoders check only width and height. A small file can also be expensive in other ways: hundreds of JPEG scans
over the whole image, millions of empty chunks, a thousand tags that point to the same megabytes. Such files
are refused here, or these parts are removed if the pixels do not need them.
"""

from __future__ import annotations

import io

from clipserve_gateway.errors import ImageFormatUnsupported, ImageUnreadable
from clipserve_gateway.flow.wanted import check_wanted
from clipserve_gateway.inputs import image_blocks, image_jpeg, image_png, image_tiff
from clipserve_gateway.inputs.image_pieces import MAX_PIECES, too_many_pieces

READS_TO_OPEN = MAX_PIECES
"""Most reads before the pixels; ordinary files take less than a hundred."""

READS_TO_DECODE = 1_000_000
"""Most reads of the pixels: two for every run of a BMP, one for every strip of a TIFF."""

PLAIN_PPM = (b"P1", b"P2", b"P3")
MAX_COMMENTS = 1_000
"""Most comments in a PPM with numbers as text."""

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
    # Pillow reads these as ordinary TIFFs.
    (0, b"MM\0+", "big-endian BigTIFF"),
)
"""Well-known kinds of files that are not accepted: offset, signature, name."""


class BoundedFile(io.BytesIO):
    """Bytes as a file with a bounded number of reads and of bytes read; more raise ImageUnreadable.

    A read raises DeadlineExceeded if no caller waits for the image any more.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads_left = READS_TO_OPEN
        # Pillow reads a TIFF's tags twice, and then its pixels.
        self._bytes_left = 4 * len(content) + (1 << 20)

    def read(self, size: int | None = -1, /) -> bytes:
        check_wanted("decode")
        self.reads_left -= 1
        piece = super().read(size)
        self._bytes_left -= len(piece)
        if self.reads_left < 0 or self._bytes_left < 0:
            raise too_many_pieces()
        return piece


def open_file(content: bytes) -> BoundedFile:
    """The image file, without parts that its pixels do not need.

    Raises ImageUnreadable for empty files, files with too many pieces and ambiguous TIFFs, and
    ImageFormatUnsupported for known kinds of files that are not accepted.
    """
    if not content:
        raise ImageUnreadable("the image has no bytes")
    for offset, signature, name in UNSUPPORTED:
        if content.startswith(signature, offset):
            raise ImageFormatUnsupported(f"{name} files are not accepted; convert the image to JPEG or PNG")
    return BoundedFile(essential(content))


def essential(content: bytes) -> bytes:
    """The file without expensive parts that its pixels do not need. Raises as open_file does.

    All checks here visit each byte a few times at most.
    """
    if content.startswith(image_jpeg.SIGNATURE):
        content = image_jpeg.without_metadata(content)
        image_jpeg.check_scans(content)
    elif content.startswith(image_png.SIGNATURE):
        image_png.check_png(content)
    elif content.startswith(image_tiff.SIGNATURES):
        content = image_tiff.essential_tiff(content)
    elif content.startswith(image_blocks.GIF):
        content = image_blocks.essential_gif(content)
    elif image_blocks.is_webp(content):
        image_blocks.check_webp(content)
    elif content.startswith(PLAIN_PPM) and content.count(b"#") > MAX_COMMENTS:
        # For each comment, Pillow copies all bytes after it.
        raise too_many_pieces()
    return content
