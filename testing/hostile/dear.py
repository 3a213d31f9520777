"""Images that are small as files and dear to decode, of as many pixels as one asks for."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

from testing.hostile.files import LONG, SHORT, bmp, chunk, gif, header, png, tiff

ROW = 8000
"""Pixels across; a multiple of 16."""


def plain(kind: str, mode: str = "RGB", **options: Any) -> Callable[[int], bytes]:
    """A picture of one color, as Pillow writes it."""

    def make(pixels: int) -> bytes:
        file = io.BytesIO()
        Image.new(mode, (ROW, pixels // ROW)).save(file, kind, **options)
        return file.getvalue()

    return make


def packed(size: int) -> bytes:
    """So many zeros, deflated."""
    packer = zlib.compressobj(1)
    step = bytes(1 << 20)
    return b"".join(
        packer.compress(step[: min(len(step), size - at)]) for at in range(0, size, len(step))
    ) + (packer.flush())


def png_of(depth: int, color: int, channels: int, *, interlaced: bool = False) -> Callable[[int], bytes]:
    """A PNG that Pillow does not write itself."""

    def make(pixels: int) -> bytes:
        height = pixels // ROW
        data = packed(pixels * channels * depth // 8 + 2 * height + ROW)
        return png(header(ROW, height, depth, color, 0, 0, int(interlaced)), chunk(b"IDAT", data))

    return make


def one_strip(
    bits: int, samples: int, *, extra: int | None = None, tiled: bool = False
) -> Callable[[int], bytes]:
    """A TIFF whose only strip, or tile, is the whole picture; a tile stands in a picture of 8 × 8."""

    def make(pixels: int) -> bytes:
        height = pixels // ROW
        data = packed(pixels * samples * bits // 8)
        tags = {258: (SHORT, samples, 0), 259: (SHORT, 1, 8), 262: (SHORT, 1, 2 if samples > 2 else 1)}
        tags |= {277: (SHORT, 1, samples), 284: (SHORT, 1, 1)}
        if extra is not None:
            tags[338] = (SHORT, 1, extra)
        size = (8, 8) if tiled else (ROW, height)
        tags |= {256: (LONG, 1, size[0]), 257: (LONG, 1, size[1])}
        if tiled:
            tags |= {
                322: (LONG, 1, ROW),
                323: (LONG, 1, height // 16 * 16),
                324: (LONG, 1, 0),
                325: (LONG, 1, len(data)),
            }
        else:
            tags |= {273: (LONG, 1, 0), 278: (LONG, 1, height), 279: (LONG, 1, len(data))}
        start = 8 + 2 + 12 * len(tags) + 4
        bits_at = struct.pack(f"<{samples}H", *[bits] * samples)
        tags[258] = (SHORT, samples, start if samples > 2 else bits)
        where = 324 if tiled else 273
        tags[where] = (LONG, 1, start + len(bits_at))
        return tiff(tags, bits_at + data)

    return make


def separate_scans(pixels: int) -> bytes:
    """A baseline JPEG whose four colors come one after the other, each in a scan without a picture in it."""
    height = pixels // ROW
    file = io.BytesIO()
    Image.new("CMYK", (16, 16)).save(file, "JPEG", subsampling=0)
    tables = [part for part in parts(file.getvalue()) if part[1] in (0xC4, 0xDB)]
    frame = struct.pack(">HBHHB", 20, 8, height, ROW, 4) + b"".join(bytes([i, 0x11, 0]) for i in range(1, 5))
    scans = [b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, i, 0, 0, 63, 0) + bytes(64) for i in range(1, 5)]
    return b"\xff\xd8" + b"".join(tables) + b"\xff\xc0" + frame + b"".join(scans) + b"\xff\xd9"


def parts(jpeg: bytes) -> list[bytes]:
    """The segments of a JPEG before its scan."""
    found, position = [], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        found.append(jpeg[position:end])
        position = end
    return found


def run_length(pixels: int, *, far: bool = False) -> bytes:
    """A BMP of runs, or of one step far beyond its end in rows as wide as can be."""
    if far:
        width, height = 65_535, pixels // 65_535
        return bmp(
            width, height, bits=8, compression=1, colors=2, data=bytes(8) + b"\0\2\xff\xff" * 3, offset=62
        )
    row = b"\xff\1" * (ROW // 255) + bytes([ROW % 255, 1]) + b"\0\0"
    data = bytes(8) + row * (pixels // ROW)
    return bmp(ROW, pixels // ROW, bits=8, compression=1, colors=2, data=data, offset=62)


def off_canvas(pixels: int) -> bytes:
    """A GIF whose frame, with a transparent color, is all but the first row of its canvas."""
    file = io.BytesIO()
    Image.new("P", (ROW, pixels // ROW - 1)).save(file, "GIF")
    frame = file.getvalue()[file.getvalue().rindex(b"\x2c\0\0\0\0") :]
    moved = b"\x2c\0\0\1\0" + frame[5:]
    return gif(ROW, pixels // ROW, b"!\xf9\4\1\0\0\0\0", moved)


DEAR: dict[str, Callable[[int], bytes]] = {
    "png": plain("PNG"),
    "png with alpha": plain("PNG", "RGBA"),
    "png of gray with alpha": plain("PNG", "LA"),
    "png of 16 bits": plain("PNG", "I;16"),
    "png of 16 bits with alpha": png_of(16, 6, 4),
    "png interlaced": png_of(8, 2, 3, interlaced=True),
    "png of one bit": plain("PNG", "1"),
    "png with palette": plain("PNG", "P"),
    "jpeg": plain("JPEG"),
    "jpeg of four colors": plain("JPEG", "CMYK"),
    "jpeg progressive": plain("JPEG", progressive=True, subsampling=0),
    "jpeg progressive of four colors": plain("JPEG", "CMYK", progressive=True),
    "jpeg of separate scans": separate_scans,
    "webp": plain("WEBP", quality=10, method=0),
    "webp with alpha": plain("WEBP", "RGBA", quality=10, method=0),
    "webp lossless": plain("WEBP", lossless=True, method=0),
    "webp lossless with alpha": plain("WEBP", "RGBA", lossless=True, method=0),
    "gif": plain("GIF", "P"),
    "gif off its canvas": off_canvas,
    "tiff": plain("TIFF", compression="tiff_lzw"),
    "tiff of jpeg": plain("TIFF", compression="jpeg"),
    "tiff of one strip": one_strip(8, 3),
    "tiff of one strip with alpha": one_strip(8, 4, extra=2),
    "tiff of one strip of 16 bits": one_strip(16, 3),
    "tiff of one strip of 16 bits with alpha": one_strip(16, 4, extra=2),
    "tiff of one tile": one_strip(8, 3, tiled=True),
    "tiff of one tile of 16 bits": one_strip(16, 4, extra=2, tiled=True),
    "bmp run-length": run_length,
    "bmp run-length, far": functools.partial(run_length, far=True),
}
"""By name: makes the file for a number of pixels."""
