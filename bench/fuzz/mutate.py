"""Harm to files and texts: blind, and along the lines of their own structure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random

from testing.hostile.files import PNG_START
from testing.hostile.texts import TEXTS

NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 257, 0x7FFF, 0x8000, 0xFFFF, 0x10000)
NUMBERS += (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LONGEST = 1 << 18
"""Bytes of one harmed thing: the fuzzer looks for what is odd, not for what is long."""
PIECES = tuple(it.value[:200] for it in TEXTS if not it.reason and len(it.value) < 10_000)
"""Odd texts to put together."""


def harmed(data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """The bytes with one to six changes; some of them parts of `others`."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        structured = chance.random() < 0.5 and by_structure(data, chance)
        data = structured or chance.choice(BLIND)(data, others, chance)
        data = data[:LONGEST]
    return data


def span(data: bytes, chance: Random, longest: int = 64) -> tuple[int, int]:
    """A place in the data, more often near its beginning, and an end after it."""
    size = len(data) if chance.random() < 0.5 else min(len(data), 64)
    start = chance.randint(0, size)
    return start, min(len(data), start + chance.randint(1, longest))


def flip(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """Some bits the other way."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4) if data else 0):
        at, _end = span(data[:-1], chance)
        changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def number(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """A number at some edge in the place of some bytes."""
    at, _end = span(data, chance)
    width = chance.choice("BHI")
    packed = struct.pack(
        chance.choice("<>") + width, chance.choice(NUMBERS) & (256 ** struct.calcsize(width) - 1)
    )
    return data[:at] + packed + data[at + len(packed) :]


def cut(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """Only the beginning."""
    return data[: chance.randint(0, len(data))]


def drop(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """Without a part."""
    start, end = span(data, chance, 200)
    return data[:start] + data[end:]


def double(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """With a part several times."""
    start, end = span(data, chance, 200)
    return data[:end] + data[start:end] * chance.choice((1, 1, 2, 50)) + data[end:]


def junk(data: bytes, _: Sequence[bytes], chance: Random) -> bytes:
    """With bytes of chance in between."""
    at, _end = span(data, chance)
    return data[:at] + chance.randbytes(chance.randint(1, 40)) + data[at:]


def splice(data: bytes, others: Sequence[bytes], chance: Random) -> bytes:
    """The beginning of one and the end of another."""
    other = chance.choice(others)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


BLIND: tuple[Callable[[bytes, Sequence[bytes], Random], bytes], ...] = (
    flip,
    flip,
    number,
    cut,
    drop,
    double,
    junk,
    splice,
)


def by_structure(data: bytes, chance: Random) -> bytes | None:
    """Changed as a whole file of its kind; None for kinds without a structure that is known here."""
    if data.startswith(PNG_START):
        return PNG_START + b"".join(shuffled(png_chunks(data[8:], chance), chance))
    if data.startswith(b"\xff\xd8"):
        return b"".join(shuffled(jpeg_parts(data), chance))
    if data.startswith(b"RIFF"):
        body = b"WEBP" + b"".join(shuffled(riff_chunks(data[12:]), chance))
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if data.startswith(b"II*\0") and len(data) > 10:
        return tags_changed(data, chance)
    return None


def shuffled(parts: list[bytes], chance: Random) -> list[bytes]:
    """The parts, with one of them gone, doubled, moved, or its length changed."""
    if not parts:
        return parts
    at, to = chance.randrange(len(parts)), chance.randrange(len(parts))
    what = chance.randrange(5)
    if what == 0:
        return parts[:at] + parts[at + 1 :]
    if what == 1:
        return parts[:at] + parts[at : at + 1] * chance.choice((2, 3, 200)) + parts[at + 1 :]
    if what == 2:
        parts[at], parts[to] = parts[to], parts[at]
        return parts
    if what == 3:
        parts[at] = number(parts[at][:4], (), chance) + parts[at][4:]
    else:
        parts[at] = flip(parts[at], (), chance)
    return parts


def png_chunks(data: bytes, chance: Random) -> list[bytes]:
    """Chunks, their checksums mended more often than not."""
    found = []
    while len(data) >= 12:
        end = 12 + int.from_bytes(data[:4], "big")
        one, data = data[:end], data[end:]
        mended = one[:-4] + struct.pack(">I", zlib.crc32(one[4:-4]))
        found.append(mended if chance.random() < 0.8 else one)
    return [*found, data]


def jpeg_parts(data: bytes) -> list[bytes]:
    """Segments up to the scan, and the rest."""
    found, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda" and at + 4 <= len(data):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append(data[at:end])
        at = end
    return [*found, data[at:]]


def riff_chunks(data: bytes) -> list[bytes]:
    """Chunks with their padding."""
    found = []
    while len(data) >= 8:
        size = int.from_bytes(data[4:8], "little")
        end = 8 + size + size % 2
        found.append(data[:end])
        data = data[end:]
    return [*found, data]


def tags_changed(data: bytes, chance: Random) -> bytes:
    """A TIFF with some of its tags' numbers changed."""
    changed = bytearray(data)
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    for _ in range(chance.randint(1, 3)):
        at = start + 2 + 12 * chance.randrange(max(1, count))
        field, width = chance.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")))
        if at + 12 <= len(changed):
            value = chance.choice(NUMBERS) & (0xFFFF if width == "H" else 0xFFFFFFFF)
            struct.pack_into("<" + width, changed, at + field, value)
    return bytes(changed)


def odd_text(chance: Random) -> str:
    """A text put together of odd pieces, words and characters of chance."""
    parts = []
    for _ in range(chance.choice((1, 2, 3, 5, 20))):
        kind = chance.randrange(4)
        if kind == 0:
            parts.append(chance.choice(PIECES))
        elif kind == 1:
            parts.append("".join(map(character, [chance] * chance.randint(1, 20))))
        elif kind == 2:
            parts.append(chance.choice(("a dog", "&", "&amp;", "&#", ";", "<", "Ã©", "\n", " ", "{}", "'s")))
        else:
            parts.append(character(chance) * chance.choice((2, 100, 3_000)))
    return "".join(parts)


def character(chance: Random) -> str:
    """Any that UTF-8 can say; ASCII as often as not."""
    if chance.random() < 0.5:
        return chr(chance.randrange(128))
    found = chance.randrange(chance.choice((0x100, 0x3000, 0x110000)))
    return chr(found) if not 0xD800 <= found < 0xE000 else "\ufffd"
