"""PNG files that are not what they say."""

from __future__ import annotations

import struct
import zlib

from testing.hostile.cases import ANSWERED, TOO_LARGE, UNREADABLE, Item
from testing.hostile.files import PNG_START, chunk, header, patched, png, rows, saved, zeros

RGB = header(8, 8)


def palette(colors: int) -> bytes:
    """A palette picture of 8 × 8 whose pixels all have the last color that 8 bits can name."""
    data = chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 8) * 8))
    return png(header(8, 8, 8, 3), chunk(b"PLTE", bytes(3 * colors)), data)


def text(kind: bytes, data: bytes) -> bytes:
    """A sound picture after a chunk of text or the like."""
    return png(RGB, chunk(kind, data), rows())


PNGS: list[Item[bytes]] = [
    Item("png header alone", lambda: PNG_START, UNREADABLE),
    Item("png without header chunk", lambda: png(rows()), UNREADABLE),
    Item("png header twice", lambda: png(RGB, header(4, 4), rows()), UNREADABLE),
    Item("png header chunk too short", lambda: png(chunk(b"IHDR", bytes(12)), rows()), UNREADABLE),
    Item("png header crc", lambda: patched(saved("PNG"), 29, b"\0\0\0\0"), UNREADABLE),
    Item("png pixel crc", lambda: png(RGB, chunk(b"IDAT", zlib.compress(bytes(200)), crc=1)), ANSWERED),
    Item("png end crc", lambda: png(RGB, rows(), end=chunk(b"IEND", crc=1)), ANSWERED),
    Item("png no end", lambda: png(RGB, rows(), end=b""), ANSWERED),
    Item("png width 0", lambda: png(header(0, 8), rows()), UNREADABLE),
    Item("png height 0", lambda: png(header(8, 0), rows()), UNREADABLE),
    Item("png 0 × 0", lambda: png(header(0, 0), rows()), UNREADABLE),
    Item("png 2³¹ wide", lambda: png(header(1 << 31, 1), rows()), TOO_LARGE),
    Item("png 2³²−1 square", lambda: png(header(2**32 - 1, 2**32 - 1), rows()), TOO_LARGE),
    Item("png 65535 square", lambda: png(header(65535, 65535), rows()), TOO_LARGE),
    Item(
        "png of one color, 20000 square",
        lambda: png(header(20_000, 20_000), chunk(b"IDAT", zeros(50))),
        TOO_LARGE,
    ),
    Item("png one long row", lambda: png(header(30_000_000, 1), chunk(b"IDAT", zeros(50))), TOO_LARGE),
    Item("png one tall column", lambda: png(header(1, 30_000_000), chunk(b"IDAT", zeros(50))), TOO_LARGE),
    Item("png more pixels than it says", lambda: png(RGB, chunk(b"IDAT", zeros(50))), ANSWERED),
    Item("png fewer pixels than it says", lambda: png(header(800, 800), rows()), UNREADABLE),
    Item("png color type 1", lambda: png(header(8, 8, 8, 1), rows()), UNREADABLE),
    Item("png color type 255", lambda: png(header(8, 8, 8, 255), rows()), UNREADABLE),
    Item("png depth 3", lambda: png(header(8, 8, 3, 0), rows()), UNREADABLE),
    Item("png palette of depth 16", lambda: png(header(8, 8, 16, 3), rows()), UNREADABLE),
    Item("png compression 1", lambda: png(header(8, 8, 8, 2, 1, 0, 0), rows()), ANSWERED),
    Item("png filter method 9", lambda: png(header(8, 8, 8, 2, 0, 9, 0), rows()), UNREADABLE),
    Item("png interlace 9", lambda: png(header(8, 8, 8, 2, 0, 0, 9), rows()), UNREADABLE),
    Item("png row filter 5", lambda: png(RGB, rows(filter=5)), UNREADABLE),
    Item("png no pixels", lambda: png(RGB), UNREADABLE),
    Item("png empty pixels", lambda: png(RGB, chunk(b"IDAT")), UNREADABLE),
    Item("png garbage pixels", lambda: png(RGB, chunk(b"IDAT", bytes(range(200)))), UNREADABLE),
    Item("png cut zlib stream", lambda: png(RGB, chunk(b"IDAT", zlib.compress(bytes(200))[:4])), UNREADABLE),
    Item(
        "png zlib checksum",
        lambda: png(RGB, chunk(b"IDAT", patched(zlib.compress(bytes(200)), -4, b"\1\2\3\4"))),
        UNREADABLE,
    ),
    Item("png pixels before header", lambda: PNG_START + rows() + RGB + chunk(b"IEND"), UNREADABLE),
    Item(
        "png pixels in a thousand chunks",
        lambda: png(
            RGB, *(chunk(b"IDAT", bytes([b])) for b in zlib.compress(bytes(200), 0)), *[chunk(b"IDAT")] * 1000
        ),
        ANSWERED,
    ),
    Item(
        "png without palette",
        lambda: png(header(8, 8, 8, 3), chunk(b"IDAT", zlib.compress(bytes(72)))),
        ANSWERED,
    ),
    Item("png palette of no colors", lambda: palette(0), ANSWERED),
    Item("png palette of 1 color, 255 named", lambda: palette(1), ANSWERED),
    Item("png palette of 300 colors", lambda: palette(300), UNREADABLE),
    Item(
        "png palette of 2 bytes",
        lambda: png(header(8, 8, 8, 3), chunk(b"PLTE", b"\1\2"), chunk(b"IDAT", zlib.compress(bytes(72)))),
        ANSWERED,
    ),
    Item(
        "png transparency of 300 bytes",
        lambda: png(
            header(8, 8, 8, 3),
            chunk(b"PLTE", bytes(6)),
            chunk(b"tRNS", bytes(300)),
            chunk(b"IDAT", zlib.compress(bytes(72))),
        ),
        ANSWERED,
    ),
    Item("png transparency of 1 byte", lambda: text(b"tRNS", b"\0"), UNREADABLE),
    Item(
        "png chunk of 4 GiB", lambda: png(RGB, chunk(b"tEXt", b"k\0v", length=2**32 - 1), rows()), UNREADABLE
    ),
    Item(
        "png chunk of negative length",
        lambda: png(RGB, chunk(b"tEXt", b"k\0v", length=2**31), rows()),
        UNREADABLE,
    ),
    Item("png chunk named by no letters", lambda: text(b"\0\1\2\3", b""), UNREADABLE),
    Item("png unknown critical chunk", lambda: text(b"ABCD", b"x" * 50), ANSWERED),
    Item("png 300000 empty chunks", lambda: png(RGB, chunk(b"aaAa") * 300_000, rows()), UNREADABLE),
    Item("png compressed text bomb", lambda: text(b"zTXt", b"k\0\0" + zeros(50)), UNREADABLE),
    Item("png international text bomb", lambda: text(b"iTXt", b"k\0\1\0\0\0" + zeros(50)), UNREADABLE),
    Item("png color profile bomb", lambda: text(b"iCCP", b"k\0\0" + zeros(50)), UNREADABLE),
    Item(
        "png many text bombs",
        lambda: png(RGB, *[chunk(b"zTXt", b"k\0\0" + zeros(1))] * 100, rows()),
        UNREADABLE,
    ),
    Item("png text without separator", lambda: text(b"tEXt", b"\xff" * 40), ANSWERED),
    Item("png text compressed by method 7", lambda: text(b"zTXt", b"k\0\7xx"), UNREADABLE),
    Item("png color profile garbage", lambda: text(b"iCCP", b"\xff" * 100), UNREADABLE),
    Item("png exif garbage", lambda: text(b"eXIf", b"II*\0" + b"\xff" * 100), ANSWERED),
    Item("png gamma of 0 bytes", lambda: text(b"gAMA", b""), UNREADABLE),
    Item("png chromaticities of 3 bytes", lambda: text(b"cHRM", b"abc"), UNREADABLE),
    Item("png density of 1 byte", lambda: text(b"pHYs", b"a"), UNREADABLE),
    Item(
        "png endless animation of 2³²−1 frames",
        lambda: text(b"acTL", struct.pack(">II", 2**32 - 1, 0)),
        ANSWERED,
    ),
    Item("png animation of 0 frames", lambda: text(b"acTL", bytes(8)), ANSWERED),
    Item(
        "png frame outside of the picture",
        lambda: png(
            RGB,
            chunk(b"acTL", struct.pack(">II", 2, 0)),
            chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 9, 9, 99, 99, 1, 1, 0, 0)),
            rows(),
        ),
        UNREADABLE,
    ),
    Item(
        "png frames out of order",
        lambda: png(
            RGB,
            chunk(b"acTL", struct.pack(">II", 2, 0)),
            chunk(b"fcTL", struct.pack(">IIIIIHHBB", 7, 8, 8, 0, 0, 1, 1, 0, 0)),
            rows(),
        ),
        UNREADABLE,
    ),
    Item("png junk behind", lambda: saved("PNG") + bytes(range(256)) * 40, ANSWERED),
    Item("png junk before", lambda: b"junk" + saved("PNG"), UNREADABLE),
    Item("png newline translation", lambda: saved("PNG").replace(b"\r\n", b"\n"), UNREADABLE),
]
