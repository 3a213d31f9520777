"""Bytes that are no message, and odd bytes that are one after all."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from testing.hostile.cases import Call
from testing.hostile.sound import Sound, sound

BAD, INVALID = "INVALID_ARGUMENT", "INVALID_INPUT"


def varint(number: int) -> bytes:
    """A number in as many bytes as it takes."""
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def tag(field: int, kind: int) -> bytes:
    """A field's number and wire type."""
    return varint(field << 3 | kind)


def delimited(field: int, data: bytes, *, length: int | None = None) -> bytes:
    """A field of bytes, a text or a message."""
    return tag(field, 2) + varint(len(data) if length is None else length) + data


def nested(field: int, depth: int, core: bytes = b"") -> bytes:
    """A message in a message, so deep."""
    parts, length = [], len(core)
    for _ in range(depth):
        start = tag(field, 2) + varint(length)
        parts.append(start)
        length += len(start)
    return b"".join(reversed(parts)) + core


BROKEN: dict[str, bytes] = {
    "a number cut": b"\x08\xff",
    "a number of 11 bytes": b"\x08" + b"\xff" * 10 + b"\1",
    "a tag cut": b"\xff",
    "a tag of 6 bytes": b"\xff\xff\xff\xff\xff\1",
    "a length cut": b"\x0a",
    "a length beyond the end": b"\x0a\x7fabc",
    "a length of 4 GiB": b"\x0a" + varint(2**32 - 1) + b"abc",
    "a length of 2⁶³": b"\x0a" + varint(2**63) + b"abc",
    "four bytes cut": b"\x7d\1\2\3",
    "eight bytes cut": b"\x79\1\2\3",
    "field 0": b"\2\0",
    "wire type 6": b"\x7e\0",
    "wire type 7": b"\x7f\0",
    "a group without end": b"\x7b",
    "a group without start": b"\x7c",
    "a group that another ends": b"\x7b\x84\1",
    "100000 groups": b"\x7b" * 100_000,
    "100000 groups with their ends": b"\x7b" * 100_000 + b"\x7c" * 100_000,
    "ones": b"\xff" * 1_000,
}
"""Whole requests of any method that no parser takes."""

HARMLESS: dict[str, bytes] = {
    "an unknown number": tag(1_000, 0) + varint(2**64 - 1),
    "an unknown text": delimited(1_000, b"\xff" * 1_000),
    "an unknown group": tag(1_000, 3) + b"\x08\1" + tag(1_000, 4),
    "the largest field": tag(2**29 - 1, 5) + bytes(4),
    "a megabyte of unknown bytes": delimited(1_001, bytes(1_000_000)),
    "10000 unknown fields": (tag(1_000, 0) + b"\1") * 10_000,
}
"""What may follow a sound request without a difference."""

NOT_TEXT: dict[str, bytes] = {
    "a byte": b"\xff",
    "a lone surrogate": b"\xed\xa0\x80",
    "a NUL of two bytes": b"\xc0\x80",
    "a character beyond the last": b"\xf4\x90\x80\x80",
    "a character cut": b"\xe2\x82",
    "Latin-1": "naïve".encode("latin-1"),
}
"""Not UTF-8."""


def text_field(message: Descriptor) -> tuple[int, ...] | None:
    """The way to some text in a message: field numbers, from the outside in."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            return (field.number,)
    for field in message.fields:
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            inner = text_field(field.message_type)
            if inner:
                return (field.number, *inner)
    return None


def wrapped(path: tuple[int, ...], data: bytes) -> bytes:
    """The data as the field at the end of a way."""
    for field in reversed(path):
        data = delimited(field, data)
    return data


@functools.cache
def wire(dim: int) -> list[Call]:
    """Damage to the requests of every method."""
    return [case for method, it in sound(dim).items() for case in damage(method, it)]


def damage(method: str, sound: Sound) -> Iterator[Call]:
    """Bytes that are no request of this method, and some that equal a sound one."""

    def broken(name: str, data: bytes) -> Call:
        return Call(f"{method} of {name}", method, lambda: data, BAD, INVALID)

    whole = sound.request.SerializeToString(deterministic=True)
    for name, data in BROKEN.items():
        yield broken(name, data)
        if whole:
            yield broken(f"a sound request and {name}", whole + data)
    if whole:
        yield broken("all but the last byte", whole[:-1])
    yield broken("noise", random.Random(method).randbytes(500) + b"\x7f")
    path = text_field(sound.request.DESCRIPTOR)
    for name, data in NOT_TEXT.items() if path else ():
        yield broken(f"text that is {name}", wrapped(path, data))
    for name, data in HARMLESS.items():
        title, make = f"{method} of a sound request and {name}", functools.partial(whole.__add__, data)
        yield Call(title, method, make, sound.code, sound.reason, sound.field)


def deep(method: str, path: tuple[int, ...], field: int, depth: int) -> Call:
    """A sound beginning, and a message in itself so deep."""
    return Call(
        f"{method} of {depth} messages in each other",
        method,
        lambda: wrapped(path, nested(field, depth)),
        BAD,
        INVALID,
    )


def dense(method: str, path: tuple[int, ...], field: int, name: str) -> Call:
    """Four hundred thousand empty parts, of two or more bytes each, in so many kilobytes."""
    data = wrapped(path, delimited(field, b"") * 400_000) + delimited(1_000, bytes(1 << 20))
    return Call(f"{method} of 400000 empty parts", method, lambda: data, BAD, "LIMIT_EXCEEDED", name)


DENSE: list[Call] = [
    dense("ClipService/Embed", (), 2, "inputs"),
    dense("ClipService/EmbedStream", (2,), 2, "request"),
    dense("ClipService/Classify", (3,), 1, "labels"),
    dense("ClipService/Search", (7, 4), 1, "filter"),
    dense("CollectionService/CreateCollection", (), 4, "schema"),
    dense("CollectionService/UpsertPoints", (), 2, "points"),
    dense("CollectionService/DeletePoints", (), 2, "ids"),
    dense("LabelSetService/PutLabelSet", (2,), 2, "labels"),
]
"""Small on the wire, large in memory."""

DEEP: list[Call] = [
    deep("ClipService/Search", (7,), 6, 100_000),
    deep("CollectionService/CountPoints", (2,), 6, 100_000),
    deep("CollectionService/ScrollPoints", (2,), 6, 100_000),
    deep("CollectionService/DeletePoints", (3,), 6, 100_000),
    deep("CollectionService/CountPoints", (2,), 6, 200),
]
"""Filters that negate themselves; the parser stops at a hundred messages in each other."""
