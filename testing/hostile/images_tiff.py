"""TIFF files that are not what they say."""

from __future__ import annotations

import struct

from testing.hostile.cases import ANSWERED, TOO_LARGE, UNREADABLE, UNSUPPORTED, Item
from testing.hostile.files import BYTE, LONG, SHORT, gray_tiff, saved, tiff, zeros

ASCII, RATIONAL, SIGNED, DOUBLE = 2, 5, 9, 12
TILED = [(256, LONG, 8), (257, LONG, 8), (258, SHORT, 8), (259, SHORT, 8), (262, SHORT, 1), (277, SHORT, 1)]


def twice(order: str = "<") -> bytes:
    """A tile that libtiff, which takes the first of two tags, finds larger than one that takes the last."""
    tags = [*TILED, (322, LONG, 32_768), (322, LONG, 16), (323, LONG, 16_384), (323, LONG, 16)]
    tags += [(324, LONG, 10 + 12 * 12 + 4), (325, LONG, len(zeros(50)))]
    directory = b"".join(
        struct.pack(
            order + ("HHIHH" if kind == SHORT else "HHII"), tag, kind, 1, value, *[0] * (kind == SHORT)
        )
        for tag, kind, value in tags
    )
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IH", 8, len(tags)) + directory + bytes(4) + zeros(50)


def signed() -> bytes:
    """A tile whose size has a type that Pillow skips and libtiff reads."""
    at = 8 + 2 + 12 * 10 + 4
    tags = {tag: (kind, 1, value) for tag, kind, value in TILED} | {322: (17, 1, at), 323: (17, 1, at + 8)}
    tags |= {324: (LONG, 1, at + 16), 325: (LONG, 1, len(zeros(50)))}
    return tiff(tags, struct.pack("<QQ", 32_768, 16_384) + zeros(50))


def big() -> bytes:
    """The first of these as a BigTIFF."""
    tags = [*TILED, (322, LONG, 32_768), (322, LONG, 16), (323, LONG, 16_384), (323, LONG, 16)]
    tags += [(324, LONG, 16 + 8 + 20 * 12 + 8), (325, LONG, len(zeros(50)))]
    directory = b"".join(struct.pack("<HHQQ", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)) + directory + bytes(8) + zeros(50)


TIFFS: list[Item[bytes]] = [
    Item("tiff header alone", lambda: b"II*\0\x08\0\0\0", UNREADABLE),
    Item("tiff directory outside", lambda: b"II*\0\xff\xff\xff\x7f" + bytes(100), UNREADABLE),
    Item("tiff of no tags", lambda: tiff({}), UNREADABLE),
    Item("tiff of 65535 tags", lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(100), UNREADABLE),
    Item("tiff of the other byte order", lambda: gray_tiff(order=b"MM"), UNREADABLE),
    Item("tiff of no size", lambda: gray_tiff({256: None, 257: None}), UNREADABLE),
    Item("tiff 0 wide", lambda: gray_tiff({256: (LONG, 1, 0)}), UNREADABLE),
    Item(
        "tiff 2³²−1 square",
        lambda: gray_tiff({256: (LONG, 1, 2**32 - 1), 257: (LONG, 1, 2**32 - 1)}),
        TOO_LARGE,
    ),
    Item("tiff −1 wide", lambda: gray_tiff({256: (SIGNED, 1, 2**32 - 1)}), UNREADABLE),
    Item("tiff width in words", lambda: gray_tiff({256: (ASCII, 4, 0x383838)}), UNREADABLE),
    Item("tiff width in parts", lambda: gray_tiff({256: (RATIONAL, 1, 8)}), UNREADABLE),
    Item("tiff width of no values", lambda: gray_tiff({256: (LONG, 0, 8)}), UNREADABLE),
    Item("tiff size of two values", lambda: gray_tiff({256: (SHORT, 2, 0x80008)}), ANSWERED),
    Item("tiff directory that follows itself", lambda: gray_tiff(following=8), ANSWERED),
    Item("tiff directory in itself", lambda: gray_tiff({34665: (LONG, 1, 8), 330: (LONG, 1, 8)}), ANSWERED),
    Item(
        "tiff of 5000 tags in the same megabyte",
        lambda: tiff({40_000 + i: (7, 1_000_000, 8) for i in range(5_000)}, bytes(1_000_000)),
        UNREADABLE,
    ),
    Item("tiff tag of 4 GiB", lambda: gray_tiff({270: (ASCII, 2**32 - 1, 8)}), UNREADABLE),
    Item("tiff tag of an unknown type", lambda: gray_tiff({50_000: (99, 1, 1)}), ANSWERED),
    Item("tiff strip outside", lambda: gray_tiff({273: (LONG, 1, 2**31)}), UNREADABLE),
    Item("tiff strip cut", lambda: gray_tiff(side=64, rest=bytes(100)), UNREADABLE),
    Item("tiff without strips", lambda: gray_tiff({273: None, 279: None}), UNREADABLE),
    Item("tiff strip in words", lambda: gray_tiff({273: (ASCII, 4, 0x383838)}), UNREADABLE),
    Item("tiff rows of a strip 0", lambda: gray_tiff({278: (LONG, 1, 0)}), UNREADABLE),
    Item("tiff rows of a strip 2³²−1", lambda: gray_tiff({278: (LONG, 1, 2**32 - 1)}), ANSWERED),
    Item(
        "tiff compressed strip of 2³⁰ rows",
        lambda: gray_tiff({278: (LONG, 1, 1 << 30), 259: (SHORT, 1, 8)}, rest=zeros(50)),
        ANSWERED,
    ),
    Item("tiff compressed by method 9999", lambda: gray_tiff({259: (SHORT, 1, 9999)}), UNREADABLE),
    Item("tiff lzw garbage", lambda: gray_tiff({259: (SHORT, 1, 5)}, rest=b"\xff" * 64), UNREADABLE),
    Item("tiff deflate garbage", lambda: gray_tiff({259: (SHORT, 1, 8)}, rest=b"\xff" * 64), UNREADABLE),
    Item("tiff packbits garbage", lambda: gray_tiff({259: (SHORT, 1, 32773)}, rest=b"\x81" * 63), UNREADABLE),
    Item(
        "tiff fax garbage",
        lambda: gray_tiff({259: (SHORT, 1, 4), 258: (SHORT, 1, 1)}, rest=b"\x55" * 64),
        ANSWERED,
    ),
    Item(
        "tiff jpeg garbage", lambda: gray_tiff({259: (SHORT, 1, 7)}, rest=b"\xff\xd8" + bytes(62)), UNREADABLE
    ),
    Item("tiff old jpeg", lambda: gray_tiff({259: (SHORT, 1, 6), 513: (LONG, 1, 8)}), UNREADABLE),
    Item("tiff of 3 bits", lambda: gray_tiff({258: (SHORT, 1, 3)}), UNREADABLE),
    Item("tiff of 64 bits", lambda: gray_tiff({258: (SHORT, 1, 64)}), UNREADABLE),
    Item("tiff of 65535 samples", lambda: gray_tiff({277: (SHORT, 1, 65535)}), UNREADABLE),
    Item("tiff of 0 samples", lambda: gray_tiff({277: (SHORT, 1, 0)}), UNREADABLE),
    Item("tiff of floating point", lambda: saved("TIFF", "F"), UNSUPPORTED),
    Item("tiff of 32 bits", lambda: saved("TIFF", "I"), UNSUPPORTED),
    Item("tiff orientation 99", lambda: gray_tiff({274: (SHORT, 1, 99)}), ANSWERED),
    Item("tiff orientation in words", lambda: gray_tiff({274: (ASCII, 4, 0x383838)}), ANSWERED),
    Item(
        "tiff planes apart, one of three there",
        lambda: gray_tiff({277: (SHORT, 1, 3), 284: (SHORT, 1, 2), 262: (SHORT, 1, 2)}),
        ANSWERED,
    ),
    Item(
        "tiff tile of 32768 × 16384",
        lambda: gray_tiff(
            {322: (LONG, 1, 32_768), 323: (LONG, 1, 16_384), 324: (LONG, 1, 8), 325: (LONG, 1, 64)}
        ),
        TOO_LARGE,
    ),
    Item(
        "tiff tile in words",
        lambda: gray_tiff({322: (ASCII, 4, 0x383838), 323: (ASCII, 4, 0x383838)}),
        UNREADABLE,
    ),
    Item("tiff tile in bytes", lambda: gray_tiff({322: (BYTE, 1, 99), 323: (BYTE, 1, 99)}), UNREADABLE),
    Item("tiff tile of no width", lambda: gray_tiff({322: (LONG, 0, 0), 323: (LONG, 1, 16)}), ANSWERED),
    Item("tiff tile in parts", lambda: gray_tiff({322: (RATIONAL, 1, 8), 323: (DOUBLE, 1, 8)}), UNREADABLE),
    Item("tiff tile twice, first of 32768 × 16384", twice, UNREADABLE),
    Item("tiff tile of 32768 × 16384 in signed numbers of 8 bytes", signed, UNREADABLE),
    Item("tiff of the other byte order, tile twice", lambda: twice(">"), UNREADABLE),
    Item("tiff big, tile twice", big, UNREADABLE),
    Item("tiff color map cut", lambda: gray_tiff({262: (SHORT, 1, 3), 320: (SHORT, 3, 8)}), ANSWERED),
    Item("tiff big, cut", lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63), UNREADABLE),
    Item(
        "tiff big, of the other byte order",
        lambda: b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 9) + bytes(200),
        UNSUPPORTED,
    ),
    Item(
        "tiff icc and exif garbage", lambda: gray_tiff({34675: (BYTE, 50, 8), 34665: (LONG, 1, 9)}), ANSWERED
    ),
]
