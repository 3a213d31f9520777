"""GIF, WebP, BMP and PPM files that are not what they say."""

from __future__ import annotations

import struct

from testing.hostile.cases import ANSWERED, TOO_LARGE, UNREADABLE, UNSUPPORTED, Item
from testing.hostile.files import bmp, canvas, gif, gif_frame, patched, riff, saved

CLEAR_END = b"\x2c\0"
"""LZW of code size 2: clear, end."""
ONE = gif_frame(1, 1, b"\x44\x01")
"""A frame of one black pixel."""


def webp(**options: object) -> bytes:
    """A sound WebP."""
    return saved("WEBP", **options)


def picture() -> tuple[bytes, bytes]:
    """The one chunk of a sound lossy WebP."""
    return b"VP8 ", webp()[20:]


def movie(frames: int, *, loops: int = 0) -> bytes:
    """An animated WebP of frames that say they are 1 × 1 at the origin."""
    one = (b"ANMF", bytes(16) + b"VP8 " + struct.pack("<I", len(picture()[1])) + picture()[1])
    return riff(canvas(48, 40, 2), (b"ANIM", bytes(4) + struct.pack("<H", loops)), *[one] * frames)


GIFS: list[Item[bytes]] = [
    Item("gif header alone", lambda: gif(8, 8), UNREADABLE),
    Item("gif of version 00a", lambda: b"GIF00a" + gif(1, 1, ONE)[6:], UNREADABLE),
    Item("gif without end", lambda: gif(1, 1, ONE), ANSWERED),
    Item("gif 0 × 0", lambda: gif(0, 0, gif_frame(0, 0, CLEAR_END), b";"), UNREADABLE),
    Item("gif frame of 0 × 0", lambda: gif(8, 8, gif_frame(0, 0, CLEAR_END), b";"), UNREADABLE),
    Item("gif screen 65535 square", lambda: gif(65535, 65535, ONE, b";"), TOO_LARGE),
    Item("gif frame 65535 square", lambda: gif(8, 8, gif_frame(65535, 65535, CLEAR_END), b";"), TOO_LARGE),
    Item(
        "gif frame off the screen",
        lambda: gif(1, 1, gif_frame(1, 1, b"\x44\1", left=65535, top=65535)),
        TOO_LARGE,
    ),
    Item("gif without colors", lambda: gif(1, 1, ONE, flags=0, palette=b""), ANSWERED),
    Item("gif palette cut", lambda: gif(1, 1, flags=0x87, palette=bytes(9)), UNREADABLE),
    Item("gif code size 0", lambda: gif(8, 8, gif_frame(8, 8, b"abc", code_size=0)), UNREADABLE),
    Item("gif code size 12", lambda: gif(8, 8, gif_frame(8, 8, b"abc", code_size=12)), UNREADABLE),
    Item("gif code size 255", lambda: gif(8, 8, gif_frame(8, 8, b"abc", code_size=255)), UNREADABLE),
    Item("gif garbage pixels", lambda: gif(8, 8, gif_frame(8, 8, b"\xff" * 200)), UNREADABLE),
    Item("gif no pixels", lambda: gif(8, 8, gif_frame(8, 8, b""), b";"), UNREADABLE),
    Item("gif ends before its pixels", lambda: gif(8, 8, gif_frame(8, 8, CLEAR_END), b";"), UNREADABLE),
    Item("gif unknown block", lambda: gif(8, 8, b"\x99" * 50, ONE), ANSWERED),
    Item("gif two million comments", lambda: gif(8, 8, b"!\xfe" + b"\1a" * 1_000_000), UNREADABLE),
    Item("gif comment without end", lambda: gif(8, 8, b"!\xfe\xffabc"), UNREADABLE),
    Item("gif control of 0 bytes", lambda: gif(1, 1, b"!\xf9\0", ONE), UNREADABLE),
    Item("gif control of 1 byte", lambda: gif(1, 1, b"!\xf9\1\1\0", ONE), UNREADABLE),
    Item("gif transparent color 255 of 2", lambda: gif(1, 1, b"!\xf9\4\1\0\0\xff\0", ONE), ANSWERED),
    Item("gif endless", lambda: gif(1, 1, b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", ONE * 2, b";"), ANSWERED),
    Item("gif loop count cut", lambda: gif(1, 1, b"!\xff\x0bNETSCAPE2.0\1\1\0", ONE), ANSWERED),
    Item("gif of 20000 frames", lambda: gif(1, 1, ONE * 20_000, b";"), ANSWERED),
    Item("gif and a script", lambda: b"GIF89a/*" + bytes(7) + b"*/=1;alert(1)", UNREADABLE),
    Item("gif junk behind", lambda: saved("GIF") + bytes(range(256)) * 10, ANSWERED),
]

WEBPS: list[Item[bytes]] = [
    Item("webp container alone", lambda: riff(), UNREADABLE),
    Item("webp container of 0 bytes", lambda: riff(picture(), size=0), UNREADABLE),
    Item("webp container of 4 GiB", lambda: riff(picture(), size=2**32 - 1), UNREADABLE),
    Item(
        "webp container one byte short",
        lambda: patched(webp(), 4, struct.pack("<I", len(webp()) - 9)),
        UNREADABLE,
    ),
    Item("webp chunk of 4 GiB", lambda: patched(webp(), 16, b"\xff\xff\xff\xff"), UNREADABLE),
    Item("webp no pixels", lambda: riff((b"VP8 ", b"")), UNREADABLE),
    Item("webp garbage pixels", lambda: riff((b"VP8 ", b"\xff" * 100)), UNREADABLE),
    Item("webp lossless garbage", lambda: riff((b"VP8L", b"\x2f" + b"\xff" * 100)), UNREADABLE),
    Item("webp lossless of the wrong mark", lambda: patched(webp(lossless=True), 20, b"\0"), UNREADABLE),
    Item("webp lossless noise", lambda: patched(webp(lossless=True), 30, bytes(range(40))), UNREADABLE),
    Item("webp 0 × 0", lambda: patched(webp(), 26, bytes(4)), UNREADABLE),
    Item("webp 16383 square", lambda: patched(webp(), 26, b"\xff\x3f\xff\x3f"), TOO_LARGE),
    Item("webp canvas of 2²⁴ square", lambda: riff(canvas(1 << 24, 1 << 24), picture()), UNREADABLE),
    Item("webp canvas of 16383 square", lambda: riff(canvas(16383, 16383), picture()), UNREADABLE),
    Item(
        "webp moving canvas of 16383 square",
        lambda: riff(
            canvas(16383, 16383, 2),
            (b"ANIM", bytes(6)),
            (b"ANMF", bytes(16) + b"VP8 " + struct.pack("<I", len(picture()[1])) + picture()[1]),
        ),
        TOO_LARGE,
    ),
    Item("webp canvas alone", lambda: riff(canvas(8, 8)), UNREADABLE),
    Item("webp animation of no frames", lambda: riff(canvas(8, 8, 2), (b"ANIM", bytes(6))), UNREADABLE),
    Item("webp frame that says 1 × 1", lambda: movie(1), ANSWERED),
    Item("webp a thousand frames, endless", lambda: movie(1_000), ANSWERED),
    Item(
        "webp profile and exif garbage",
        lambda: riff(
            canvas(48, 40, 0x2C),
            (b"ICCP", b"\xff" * 99),
            picture(),
            (b"EXIF", b"\xff" * 99),
            (b"XMP ", b"\xff"),
        ),
        ANSWERED,
    ),
    Item(
        "webp alpha garbage",
        lambda: riff(canvas(48, 40, 0x10), (b"ALPH", b"\xff" * 50), picture()),
        UNREADABLE,
    ),
    Item(
        "webp 20000 unknown chunks",
        lambda: riff(canvas(48, 40), *[(b"abcd", b"")] * 20_000, picture()),
        ANSWERED,
    ),
    Item("webp junk behind", lambda: webp() + bytes(300), ANSWERED),
]

BMPS: list[Item[bytes]] = [
    Item("bmp header alone", lambda: bmp()[:54], UNREADABLE),
    Item("bmp 0 wide", lambda: bmp(0, 8), UNREADABLE),
    Item("bmp −8 wide", lambda: bmp(-8, 8), TOO_LARGE),
    Item("bmp upside down", lambda: bmp(8, -8), ANSWERED),
    Item("bmp −2³¹ high", lambda: bmp(8, -(2**31)), TOO_LARGE),
    Item("bmp 2³¹−1 square", lambda: bmp(2**31 - 1, 2**31 - 1), TOO_LARGE),
    Item("bmp of 0 bits", lambda: bmp(bits=0), UNREADABLE),
    Item("bmp of 5 bits", lambda: bmp(bits=5), UNREADABLE),
    Item("bmp of 64 bits", lambda: bmp(bits=64), UNREADABLE),
    Item("bmp compressed by method 99", lambda: bmp(compression=99), UNREADABLE),
    Item("bmp of 2³² colors", lambda: bmp(bits=8, colors=2**32 - 1), UNREADABLE),
    Item("bmp of 257 colors", lambda: bmp(bits=8, colors=257), UNREADABLE),
    Item("bmp pixels outside", lambda: bmp(offset=2**31), UNREADABLE),
    Item("bmp pixels in the header", lambda: bmp(offset=2), ANSWERED),
    Item("bmp header of 7 bytes", lambda: bmp(size=7), UNREADABLE),
    Item("bmp header of 4 GiB", lambda: bmp(size=2**32 - 1), UNREADABLE),
    Item("bmp masks of nothing", lambda: bmp(bits=16, compression=3), UNREADABLE),
    Item(
        "bmp run-length far step",
        lambda: bmp(8, 8, bits=8, compression=1, colors=2, data=bytes(8) + b"\0\2\xff\xff" * 50, offset=62),
        ANSWERED,
    ),
    Item(
        "bmp run-length without end",
        lambda: bmp(8, 8, bits=8, compression=1, colors=2, data=bytes(8) + b"\5\1", offset=62),
        UNREADABLE,
    ),
    Item(
        "bmp run-length 8000 square of steps",
        lambda: bmp(
            8000, 8000, bits=8, compression=1, colors=2, data=bytes(8) + b"\0\2\xff\xff" * 40, offset=62
        ),
        ANSWERED,
    ),
    Item(
        "bmp run-length of a million columns",
        lambda: bmp(
            1_000_000, 1, bits=8, compression=1, colors=2, data=bytes(8) + b"\0\2\xff\xff", offset=62
        ),
        TOO_LARGE,
    ),
    Item(
        "bmp run-length of 3 MB",
        lambda: bmp(
            8000, 8000, bits=8, compression=1, colors=2, data=bytes(8) + b"\1\1" * 1_500_000, offset=62
        ),
        TOO_LARGE,
    ),
]

PPMS: list[Item[bytes]] = [
    Item("ppm mark alone", lambda: b"P6", UNREADABLE),
    Item("ppm 0 × 0", lambda: b"P6 0 0 255\n", UNREADABLE),
    Item("ppm −8 wide", lambda: b"P6 -8 8 255\n" + bytes(192), UNREADABLE),
    Item("ppm 99999 square", lambda: b"P6 99999 99999 255\n" + bytes(300), TOO_LARGE),
    Item("ppm number of 30 digits", lambda: b"P6 " + b"9" * 30 + b" 8 255\n", UNREADABLE),
    Item("ppm of a megabyte of digits", lambda: b"P6 " + b"9" * 1_000_000, UNREADABLE),
    Item("ppm of letters", lambda: b"P6 eight eight 255\n", UNREADABLE),
    Item("ppm maximum 0", lambda: b"P6 8 8 0\n" + bytes(192), UNREADABLE),
    Item("ppm maximum 65536", lambda: b"P6 8 8 65536\n" + bytes(384), UNREADABLE),
    Item("ppm maximum 7", lambda: b"P6 8 8 7\n" + b"\xff" * 192, ANSWERED),
    Item("ppm comment without end", lambda: b"P6 #" + b"x" * 1_000_000, UNREADABLE),
    Item("ppm cut", lambda: b"P6 8 8 255\n" + bytes(100), UNREADABLE),
    Item("ppm plain letters for pixels", lambda: b"P3 2 2 255\n" + b"red " * 12, UNREADABLE),
    Item("ppm plain pixel over the maximum", lambda: b"P3 1 1 255\n 256 0 0", UNREADABLE),
    Item("ppm plain pixel of 5000 digits", lambda: b"P3 1 1 255\n" + b"1" * 5000 + b" 0 0 ", UNREADABLE),
    Item("ppm plain pixel −1", lambda: b"P3 1 1 255\n -1 0 0 ", UNREADABLE),
    Item("ppm plain of 4 MB", lambda: b"P3 800 800 255\n" + b"7 " * 1_920_000, TOO_LARGE),
    Item("ppm plain bits of letters", lambda: b"P1 4 4\n" + b"01x1" * 4, UNREADABLE),
    Item("pfm of floating point", lambda: b"Pf 2 2 -1.0\n" + bytes(16), UNSUPPORTED),
    Item("pfm of infinite scale", lambda: b"Pf 2 2 inf\n" + bytes(16), UNREADABLE),
    Item("pam", lambda: b"P7\nWIDTH 8\nHEIGHT 8\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(192), UNREADABLE),
]
