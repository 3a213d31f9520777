"""Image files put together by hand, sound or not."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
BYTE, SHORT, LONG = 1, 3, 4
"""Types of TIFF values."""


@functools.cache
def scene(width: int = 48, height: int = 40, mode: str = "RGB") -> Image.Image:
    """A picture with slopes and an edge."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x // max(1, width - 1), 255 * y // max(1, height - 1)
    blue = np.where(x + y > (width + height) / 2, 200, 30)
    return Image.fromarray(np.stack([red, green, blue], 2).astype(np.uint8)).convert(mode)


@functools.cache
def saved(kind: str, mode: str = "RGB", size: tuple[int, int] = (48, 40), **options: Any) -> bytes:
    """The scene as a sound file."""
    file = io.BytesIO()
    scene(*size, mode).save(file, kind, **options)
    return file.getvalue()


@functools.cache
def zeros(megabytes: int) -> bytes:
    """So many megabytes of nothing, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1_000_000)) for _ in range(megabytes)) + packer.flush()


def chunk(kind: bytes, data: bytes = b"", *, crc: int | None = None, length: int | None = None) -> bytes:
    """A chunk of a PNG."""
    check = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", check)


def header(width: int, height: int, depth: int = 8, color: int = 2, *rest: int) -> bytes:
    """IHDR; `rest` is compression, filter and interlace, all 0 by default."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, *(rest or (0, 0, 0))))


def png(*chunks: bytes, end: bytes | None = None) -> bytes:
    """A PNG of these chunks."""
    return PNG_START + b"".join(chunks) + (chunk(b"IEND") if end is None else end)


def rows(width: int = 8, height: int = 8, *, filter: int = 0) -> bytes:
    """IDAT of a gray RGB picture."""
    return chunk(b"IDAT", zlib.compress((bytes([filter]) + b"\x80" * 3 * width) * height))


def segment(marker: int, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A marker segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2 if length is None else length) + data


def segments(jpeg: bytes) -> list[bytes]:
    """A JPEG cut into SOI, its segments and, as the last part, the scan with all that follows."""
    parts, position = [jpeg[:2]], 2
    while jpeg[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        parts.append(jpeg[position:end])
        position = end
    return [*parts, jpeg[position:]]


def with_segment(jpeg: bytes, marker: int, *instead: bytes) -> bytes:
    """The JPEG with other parts in the place of its first segment of this kind."""
    parts = segments(jpeg)
    at = next(i for i, part in enumerate(parts) if part[1] == marker)
    return b"".join([*parts[:at], *instead, *parts[at + 1 :]])


def frame(jpeg: bytes) -> bytes:
    """The frame header of a baseline or progressive JPEG: its whole SOF segment."""
    return next(part for part in segments(jpeg) if part[1] in (0xC0, 0xC2))


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """The data with other bytes at a place."""
    at %= len(data)
    return data[:at] + new + data[at + len(new) :]


def gif(width: int, height: int, *blocks: bytes, flags: int = 0x80, palette: bytes = bytes(6)) -> bytes:
    """A GIF of these blocks; two black colors by default."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0) + palette + b"".join(blocks)


def gif_frame(
    width: int, height: int, data: bytes, *, left: int = 0, top: int = 0, code_size: int = 2
) -> bytes:
    """An image block with LZW data of one sub-block."""
    where = struct.pack("<HHHHB", left, top, width, height, 0)
    return b"," + where + bytes([code_size, len(data)]) + data + b"\0"


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP container."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """A VP8X chunk."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def tiff(
    entries: dict[int, tuple[int, int, int]], rest: bytes = b"", *, following: int = 0, order: bytes = b"II"
) -> bytes:
    """A little-endian TIFF of one directory, {tag: (type, count, value or offset)}, then `rest`."""
    directory = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return order + struct.pack("<HIH", 42, 8, len(entries)) + directory + struct.pack("<I", following) + rest


def gray_tiff(
    changes: dict[int, tuple[int, int, int] | None] | None = None,
    *,
    side: int = 8,
    rest: bytes = b"",
    **how: Any,
) -> bytes:
    """A gray 8-bit TIFF of one strip, with changes to its tags (None leaves a tag out)."""
    tags: dict[int, tuple[int, int, int] | None] = {
        256: (LONG, 1, side),
        257: (LONG, 1, side),
        258: (SHORT, 1, 8),
        259: (SHORT, 1, 1),
        262: (SHORT, 1, 1),
        273: (LONG, 1, 0),
        277: (SHORT, 1, 1),
        278: (LONG, 1, side),
        279: (LONG, 1, side * side),
    } | (changes or {})
    kept = {tag: entry for tag, entry in tags.items() if entry is not None}
    if 273 in kept and kept[273] == (LONG, 1, 0):
        kept[273] = (LONG, 1, 8 + 2 + 12 * len(kept) + 4)
    return tiff(kept, rest or bytes(side * side), **how)


def bmp(
    width: int = 8, height: int = 8, *, bits: int = 24, compression: int = 0, colors: int = 0, **how: Any
) -> bytes:
    """A BMP. Options: `data` (pixels), `offset` (where they begin), `size` (of the header)."""
    data: bytes = how.get("data", bytes(24 * 8))
    offset: int = how.get("offset", 54)
    info = struct.pack(
        "<IiiHHIIiiII", how.get("size", 40), width, height, 1, bits, compression, len(data), 0, 0, colors, 0
    )
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, offset) + info + data
