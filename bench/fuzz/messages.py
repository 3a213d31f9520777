"""Harm to messages: to their fields by name, and to the bytes they are written as."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from bench.fuzz.mutate import BLIND, LONGEST, harmed, odd_text
from testing.hostile.wire import BROKEN, HARMLESS, delimited, nested, varint

WHOLE = {
    FieldDescriptor.TYPE_INT32: (-(2**31), -1, 0, 1, 2, 1_000, 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), -1, 0, 1, 2**53, 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 1, 2, 64, 2**31, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 1, 2**32, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: (-1, 0, 1, 2, 3, 99, 2**31 - 1),
    FieldDescriptor.TYPE_BOOL: (False, True),
}
REAL = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    1e-45,
    1e-38,
    3.4e38,
    -3.4e38,
    float("nan"),
    float("inf"),
    float("-inf"),
)
NAMES = (
    "",
    "hostile",
    "hostile_alias",
    "kept 0",
    "demo",
    "name",
    "year",
    "tags",
    "taken",
    "{}",
    "\x1b]52;c;aGk=\x07",
    "\x9b31m\r\x00",
    "\u202egpj",
)
REPEATS = (2, 3, 17, 101, 257)


def harmed_message(sound: Message, chance: Random) -> Message:
    """The message with one to four fields changed, somewhere in it."""
    message = type(sound)()
    message.CopyFrom(sound)
    for _ in range(chance.choice((1, 1, 2, 4))):
        change_field(message, chance)
    return message


def change_field(message: Message, chance: Random) -> None:
    """Changes a field of the message, or of a message in it."""
    fields = message.DESCRIPTOR.fields
    if not fields:
        return
    field = chance.choice(fields)
    inner = inside(message, field, chance)
    if inner is not None and chance.random() < 0.75:
        change_field(inner, chance)
    elif chance.random() < 0.15:
        message.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        change_map(getattr(message, field.name), field, chance)
    elif field.is_repeated:
        change_list(getattr(message, field.name), field, chance)
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
        change_field(getattr(message, field.name), chance)
    else:
        setattr(message, field.name, value(field, getattr(message, field.name), chance))


def inside(message: Message, field: FieldDescriptor, chance: Random) -> Message | None:
    """A message that the field holds, if it does."""
    if field.message_type is None or field.message_type.GetOptions().map_entry:
        return None
    if field.is_repeated:
        found = getattr(message, field.name)
        return chance.choice(found) if found else None
    return getattr(message, field.name) if message.HasField(field.name) else None


def change_map(found: Any, field: FieldDescriptor, chance: Random) -> None:
    """One more entry, or another value of one that is there."""
    key = chance.choice([*found, odd_text(chance)[:40], chance.choice(NAMES)])
    if field.message_type.fields_by_name["value"].message_type is not None:
        change_field(found[key], chance)


def change_list(found: Any, field: FieldDescriptor, chance: Random) -> None:
    """One more, one less, one many times, or the order changed."""
    what = chance.randrange(4)
    if found and what == 0:
        del found[chance.randrange(len(found))]
    elif found and what == 1:
        one = chance.choice(found)
        found.extend([one] * chance.choice(REPEATS))
    elif field.message_type is not None:
        change_field(found.add(), chance)
    elif found and what == 2:
        at = chance.randrange(len(found))
        found[at] = value(field, found[at], chance)
    else:
        found.append(value(field, "", chance))


def value(field: FieldDescriptor, old: Any, chance: Random) -> Any:
    """A value of the field's type that is at some edge."""
    if field.type in WHOLE:
        return chance.choice(WHOLE[field.type])
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return chance.choice(REAL)
    if field.type == FieldDescriptor.TYPE_STRING:
        return chance.choice(
            (chance.choice(NAMES), odd_text(chance), odd_text(chance)[:10], old[:-1], old + "\0")
        )
    if old:
        return harmed(old, [old], chance)
    return chance.randbytes(chance.randint(0, 64))


def harmed_vector(dim: int, chance: Random) -> bytes:
    """Numbers as bytes, half of them of the right length."""
    odd = chance.choice((0, 0, 1 / dim, 0.5))
    numbers = [chance.choice(REAL) if chance.random() < odd else chance.gauss(0, 1) for _ in range(dim)]
    data = struct.pack(f"<{dim}f", *numbers)
    return harmed(data, [data], chance) if chance.random() < 0.5 else data


def harmed_bytes(sound: Sequence[bytes], chance: Random) -> bytes:
    """A request of the method as bytes, harmed; `sound` are some that are not."""
    data = chance.choice(sound)
    for _ in range(chance.choice((1, 1, 2, 5))):
        what = chance.randrange(6)
        if what == 0:
            data += chance.choice((*BROKEN.values(), *HARMLESS.values()))[:20_000]
        elif what == 1:
            data += delimited(chance.randint(1, 20), data[: chance.randint(0, len(data))])
        elif what == 2:
            data = nested(chance.randint(1, 8), chance.choice((1, 2, 16, 99, 101, 5_000)), data)
        elif what == 3 and data:
            at = chance.randrange(len(data))
            data = data[:at] + varint(chance.choice((0, 1, 127, 128, 2**31, 2**32, 2**63))) + data[at + 1 :]
        else:
            data = chance.choice(BLIND)(data, sound, chance)
        data = data[:LONGEST]
    return data
