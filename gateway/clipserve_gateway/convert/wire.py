"""How many fields a message has, counted before it is parsed.

Two bytes on the wire can stand for a message that takes fifty in memory and a hundred nanoseconds to make:
64 MiB of them would hold the event loop for seconds, and two gigabytes, before anyone could see that they are
too many.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from clipserve_gateway.errors import LimitExceeded
from clipserve_gateway.types import Limits

FREE_BYTES = 1 << 20
"""Messages of no more bytes are not looked at: they expand to some 30 MB at most."""

SPARE_FIELDS = 100_000
"""Fields beside those of items and labels: payloads, filters, lists. To count so many takes about 0.1 s."""

VARINT, EIGHT_BYTES, DELIMITED, GROUP, GROUP_END, FOUR_BYTES = range(6)
"""Wire types."""


def check_fields(kind: type[Message], data: bytes, limits: Limits) -> None:
    """LimitExceeded for a message of too many fields, those of the messages in it included.

    Whatever is no message passes, for the parser to judge: it stops where this does.
    """
    if len(data) <= FREE_BYTES:
        return
    most = SPARE_FIELDS + 4 * limits.max_items_per_call + 2 * limits.max_labels
    # What is open: its descriptor (None for a group, which nobody knows), and where it ends.
    opened: list[tuple[Any, int]] = [(kind.DESCRIPTOR, len(data))]
    position, top = 0, ""
    for _ in range(most + 1):
        while position == opened[-1][1]:
            opened.pop()
            if not opened:
                return
        inside, end = opened[-1]
        try:
            tag, position = read_varint(data, position)
            if tag & 7 == DELIMITED:
                length, position = read_varint(data, position)
                field = inside.fields_by_number.get(tag >> 3) if inside else None
                if field and len(opened) == 1:
                    top = field.name
                if field and field.message_type:
                    opened.append((field.message_type, position + length))
                else:
                    position += length
            elif tag & 7 == VARINT:
                _, position = read_varint(data, position)
            elif tag & 7 in (EIGHT_BYTES, FOUR_BYTES):
                position += 8 if tag & 7 == EIGHT_BYTES else 4
            elif tag & 7 == GROUP:
                opened.append((None, end))
            elif tag & 7 == GROUP_END and inside is None:
                opened.pop()
            else:
                return
        except IndexError:
            return
        if position > end or opened[-1][1] > end:
            return
    raise LimitExceeded(
        f"the request has more than {most} fields in all; send less at a time",
        field=top,
        metadata={"limit": str(most)},
    )


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A number, and where it ends; IndexError where the data ends before."""
    byte = data[position]
    if byte < 128:
        return byte, position + 1
    number, shift = byte & 127, 7
    while byte > 127 and shift < 70:
        position += 1
        byte = data[position]
        number |= (byte & 127) << shift
        shift += 7
    return number, position + 1
