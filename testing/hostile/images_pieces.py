"""Image files made of as many pieces as fit, of each format: what reads them must not take long for any."""

from __future__ import annotations

import struct
import zlib

from testing.hostile.cases import ANSWERED, TOO_LARGE, UNREADABLE, Item
from testing.hostile.files import (
    LONG,
    PNG_START,
    SHORT,
    bmp,
    canvas,
    chunk,
    gif,
    gif_frame,
    gray_tiff,
    header,
    riff,
    rows,
    saved,
    segment,
)

RATIONAL = 5
PROFILE = b"a\0\0" + zlib.compress(bytes(999_999))
"""Of a megabyte, in a kilobyte."""
SIZE = 2_000_000
"""Bytes, or a few more."""
PIXELS = gif_frame(8, 8, b"\x84\x8f\xa9\xcb\xed\x0f\xa3\x9c\xb4\xda\x8b\xb3\xde\xbc\xfb\x0f\x86")


def many(piece: bytes, size: int = SIZE) -> bytes:
    """A piece again and again."""
    return piece * (size // len(piece))


def jpeg(pieces: bytes) -> bytes:
    """A JPEG with these before its first segment."""
    return saved("JPEG")[:2] + pieces + saved("JPEG")[2:]


def before(pieces: bytes) -> bytes:
    """A PNG with these before its pixels."""
    return PNG_START + header(8, 8) + pieces + rows() + chunk(b"IEND")


def after(pieces: bytes) -> bytes:
    """A PNG with these behind its pixels."""
    return PNG_START + header(8, 8) + rows() + pieces + chunk(b"IEND")


def empty_pixels() -> bytes:
    """A PNG whose pixels begin after many chunks of none."""
    data = zlib.compress((b"\0" + b"\x80" * 24) * 8)
    parts = chunk(b"IDAT", data[:3]) + many(chunk(b"IDAT")) + chunk(b"IDAT", data[3:])
    return PNG_START + header(8, 8) + parts + chunk(b"IEND")


def tagged(tag: int, kind: int, size: int) -> bytes:
    """A TIFF with a tag of as many values as fit."""
    return gray_tiff({tag: (kind, SIZE // size, 400)}) + bytes([1, 0, 0, 0]) * (SIZE // 4 + 200)


def webp(kind: bytes, data: bytes = b"") -> bytes:
    """A WebP with many chunks behind its picture."""
    sound = saved("WEBP")
    picture = (b"VP8 ", sound[20 : 20 + int.from_bytes(sound[16:20], "little")])
    return riff(canvas(48, 40), picture, *[(kind, data)] * (SIZE // (8 + len(data))))


def short_lines() -> bytes:
    """A run-length coded BMP of 65,535 columns whose lines have one pixel each: 4 KB."""
    data = bytes(8) + b"\1\1\0\0" * 970
    return bmp(65_535, 970, bits=8, compression=1, colors=2, data=data, offset=62)


PIECES: list[Item[bytes]] = [
    Item("jpeg of 80000 bytes of fill", lambda: b"\xff\xd8" + b"\xff" * 80_000, UNREADABLE),
    Item("jpeg of 20 MB of fill", lambda: b"\xff\xd8" + b"\xff" * 20_000_000, UNREADABLE),
    Item("jpeg fill before each segment", lambda: jpeg(many(b"\xff" * 200 + b"\xfe\0\2")), UNREADABLE),
    Item("jpeg fill before its picture", lambda: jpeg(b"\xff" * 9_000), ANSWERED),
    Item("jpeg escaped bytes before its picture", lambda: jpeg(many(b"\xff\0")), UNREADABLE),
    Item("jpeg of empty comments", lambda: jpeg(many(b"\xff\xfe\0\2")), UNREADABLE),
    Item("jpeg of segments of length 0", lambda: jpeg(many(b"\xff\xc0\0\0")), UNREADABLE),
    Item(
        "jpeg of quantization tables",
        lambda: jpeg(many(segment(0xDB, bytes([0] + [1] * 64) * 900))),
        UNREADABLE,
    ),
    Item(
        "jpeg end, then metadata",
        lambda: jpeg(b"\xff\xd9" + many(segment(0xE1, b"Exif\0\0" + bytes(900)))),
        UNREADABLE,
    ),
    Item(
        "jpeg of segments behind its picture",
        lambda: saved("JPEG") + many(b"\xff\xfe\0\2") + b"\xff\xda" * 101,
        ANSWERED,
    ),
    Item("jpeg of restarts", lambda: saved("JPEG")[:-2] + many(b"\xff\xd0") + b"\xff\xd9", ANSWERED),
    Item("png of empty chunks behind its pixels", lambda: after(many(chunk(b"aaAa"))), UNREADABLE),
    Item("png of texts behind its pixels", lambda: after(many(chunk(b"tEXt", b"a\0b"))), UNREADABLE),
    Item("png of color profiles", lambda: before(many(chunk(b"iCCP", PROFILE))), UNREADABLE),
    Item("png of color profiles behind its pixels", lambda: after(many(chunk(b"iCCP", PROFILE))), UNREADABLE),
    Item("png of empty pixel chunks", empty_pixels, UNREADABLE),
    Item("png of animation controls", lambda: after(many(chunk(b"fcTL", bytes(26)))), UNREADABLE),
    Item("tiff of half a million strips", lambda: tagged(273, LONG, 4), UNREADABLE),
    Item("tiff of 250000 resolutions", lambda: tagged(282, RATIONAL, 8), ANSWERED),
    Item("tiff of a million sample formats", lambda: tagged(339, SHORT, 2), UNREADABLE),
    Item("tiff of a million orientations", lambda: tagged(274, SHORT, 2), UNREADABLE),
    Item("tiff of 500000 directories", lambda: tagged(330, LONG, 4), ANSWERED),
    Item("gif of comments", lambda: gif(8, 8, many(b"!\xfe\1a\0"), PIXELS, b";"), UNREADABLE),
    Item(
        "gif comment of a million pieces",
        lambda: gif(8, 8, b"!\xfe" + many(b"\1a") + b"\0", PIXELS, b";"),
        UNREADABLE,
    ),
    Item("gif of controls", lambda: gif(8, 8, many(b"!\xf9\4\0\0\0\0\0"), PIXELS, b";"), UNREADABLE),
    Item("gif of zeros between blocks", lambda: gif(8, 8, bytes(SIZE), PIXELS, b";"), UNREADABLE),
    Item("webp of unknown chunks", lambda: webp(b"abcd"), UNREADABLE),
    Item("webp of color profiles", lambda: webp(b"ICCP"), UNREADABLE),
    Item("bmp run-length of short lines", short_lines, UNREADABLE),
    Item("ppm of comments", lambda: b"P3\n8 8\n255\n" + many(b"#\n") + b"1 " * 192, UNREADABLE),
    Item("ppm of 16 bits", lambda: b"P6\n500 600\n1000\n" + bytes(500 * 600 * 6), ANSWERED),
    Item("ppm of 16 bits and 3 MB", lambda: b"P6\n700 720\n1000\n" + bytes(700 * 720 * 6), TOO_LARGE),
    Item(
        "tiff of two lengths of its directory",
        lambda: b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + bytes(12) * 65_535,
        UNREADABLE,
    ),
]
