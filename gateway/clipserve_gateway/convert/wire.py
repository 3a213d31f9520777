"""Parses messages of protobuf, and counts their fields before.

Two bytes on the wire can encode a message that takes fifty bytes in memory and a hundred nanoseconds to
parse. Parsing 64 MiB of them would block the event loop for seconds and take two gigabytes before any check.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.types import Limits

FREE_BYTES = 1 << 20
"""Smaller messages are not counted: they expand to about 30 MB at most."""

SPARE_FIELDS = 100_000
"""Allowed in addition to those of items and labels, for payloads, filters and lists. Counting takes 0.1 s."""

VARINT, EIGHT_BYTES, DELIMITED, GROUP, GROUP_END, FOUR_BYTES = range(6)
"""Wire types."""

M = TypeVar("M", bound=Message)


def parse_message(kind: type[M], data: bytes, limits: Limits) -> M:
    """The message in these bytes. Raises InvalidInput; LimitExceeded for a message of too many fields."""
    check_fields(kind, data, limits)
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"the request is not a {kind.DESCRIPTOR.full_name} message") from error


def most_fields(limits: Limits) -> int:
    """How many fields a message, with its nested messages, may have."""
    return SPARE_FIELDS + 4 * limits.max_items_per_call + 2 * limits.max_labels


def check_fields(kind: type[Message], data: bytes, limits: Limits) -> None:
    """Raises LimitExceeded if the message, with its nested messages, has too many fields.

    Data that is not a valid message passes: the parser rejects it at the same position.
    """
    if len(data) <= FREE_BYTES:
        return
    limit = most_fields(limits)
    # Each enclosing message: its descriptor (None for an unknown group) and the position of its end.
    enclosing: list[tuple[Any, int]] = [(kind.DESCRIPTOR, len(data))]
    position, top = 0, ""
    for _ in range(limit + 1):
        while position == enclosing[-1][1]:
            enclosing.pop()
            if not enclosing:
                return
        descriptor, end = enclosing[-1]
        try:
            tag, position = read_varint(data, position)
            if tag & 7 == DELIMITED:
                length, position = read_varint(data, position)
                field = descriptor.fields_by_number.get(tag >> 3) if descriptor else None
                if field and len(enclosing) == 1:
                    top = field.name
                if field and field.message_type:
                    enclosing.append((field.message_type, position + length))
                else:
                    position += length
            elif tag & 7 == VARINT:
                _, position = read_varint(data, position)
            elif tag & 7 in (EIGHT_BYTES, FOUR_BYTES):
                position += 8 if tag & 7 == EIGHT_BYTES else 4
            elif tag & 7 == GROUP:
                enclosing.append((None, end))
            elif tag & 7 == GROUP_END and descriptor is None:
                enclosing.pop()
            else:
                return
        except IndexError:
            return
        if position > end or enclosing[-1][1] > end:
            return
    raise too_many_fields(limit, top)


def too_many_fields(limit: int, field: str) -> LimitExceeded:
    """The error of a message with more than `limit` fields."""
    return LimitExceeded(
        f"the request has more than {limit} fields in total; send less at a time", field=field, limit=limit
    )


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """A varint and the position after it. Raises IndexError if the data ends inside it."""
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
