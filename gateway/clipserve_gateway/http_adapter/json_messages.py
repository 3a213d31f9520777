"""Messages of protobuf as JSON.

Reads what json_format reads, and the same way, but for these: base64 must be valid (json_format skips other
characters), a field may not stand in an object under both of its names, errors name the field in one
sentence and never repeat a value, and the number of fields is bounded. Writes by json_format.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from clipserve_gateway.convert.wire import most_fields, too_many_fields
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.http_adapter.json_text import read_json, shown
from clipserve_gateway.http_adapter.json_values import (
    Convert,
    are_numbers,
    converter,
    fill_timestamp,
    largest_number,
    read_text,
    wrong,
)
from clipserve_gateway.types import Limits

M = TypeVar("M", bound=Message)

MOST_DEPTH = 100
"""Nested messages, as in protobuf."""
TIMESTAMP = "google.protobuf.Timestamp"
"""The only message of the API with a form of its own in JSON."""
ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def read_message(kind: type[M], data: bytes, limits: Limits) -> M:
    """The message in a body. Raises InvalidInput, and LimitExceeded for too many fields or values."""
    return message_of(kind, read_json(data), limits)


def message_of(kind: type[M], document: Any, limits: Limits) -> M:
    """The message that a document describes. Raises as read_message."""
    message = kind()
    _Reader(most_fields(limits)).fill(message, document, "", 0)
    return message


def write_message(answer: Message | bytes, kind: type[Message], limits: Limits) -> bytes:
    """An answer as JSON: names in lowerCamelCase, fields without presence even if they have their default.

    Raises LimitExceeded for an answer that is too large in protobuf's encoding.
    """
    size = len(answer) if isinstance(answer, bytes) else answer.ByteSize()
    if size > limits.max_json_bytes:
        raise LimitExceeded(
            f"the answer has {size} bytes; the maximum in JSON is {limits.max_json_bytes}. Ask for less at a "
            "time, or use gRPC or content-type application/proto",
            limit=limits.max_json_bytes,
        )
    message = kind.FromString(answer) if isinstance(answer, bytes) else answer
    document = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    # In pieces: json.dumps would let no other thread run until it is done.
    return "".join(ENCODER.iterencode(document)).encode()


@dataclass(frozen=True)
class _Field:
    """A field of a message: which names it has, and how its values are read."""

    name: str
    oneof: str
    repeated: bool
    is_map: bool
    convert: Convert | None
    """None for messages."""
    largest: float
    """Largest number of a field of floats; 0 for other fields."""


@functools.cache
def fields_of(kind: Descriptor) -> dict[str, _Field]:
    """The fields of a message, by each of their names."""
    return {name: _field(field) for field in kind.fields for name in (field.json_name, field.name)}


def _field(field: FieldDescriptor) -> _Field:
    nested, oneof = field.message_type, field.containing_oneof
    return _Field(
        name=field.name,
        oneof=oneof.name if oneof is not None and len(oneof.fields) > 1 else "",
        repeated=field.is_repeated,
        is_map=nested is not None and nested.GetOptions().map_entry,
        convert=converter(field) if nested is None else None,
        largest=largest_number(field),
    )


class _Reader:
    """Fills one message and those inside it."""

    def __init__(self, most_fields: int) -> None:
        self._most = self._left = most_fields

    def fill(self, message: Any, document: Any, path: str, depth: int) -> None:
        """Sets the fields of a message. `path` is that of the message, empty for the request itself."""
        kind: Descriptor = message.DESCRIPTOR
        if kind.full_name == TIMESTAMP:
            fill_timestamp(message, document, path)
            return
        if type(document) is not dict:
            wrong(document, "a JSON object", path)
        if depth > MOST_DEPTH:
            raise InvalidInput("the request is nested too deeply", field=path)
        fields, taken = fields_of(kind), dict[str, str]()
        for key, value in document.items():
            field = fields.get(key)
            if field is None:
                raise _unknown(kind, key, path)
            where = f"{path}.{field.name}" if path else field.name
            # A field may not have both of its names, even if one has null: that would not unset it.
            for name in filter(None, (field.name, field.oneof if value is not None else "")):
                if name in taken:
                    raise InvalidInput(f"set only one of {taken[name]} and {key}", field=where)
                taken[name] = key
            if value is not None:
                self._set(message, field, value, where, depth)

    def _set(self, message: Any, field: _Field, value: Any, path: str, depth: int) -> None:
        if field.is_map:
            self._fill_map(getattr(message, field.name), value, path, depth)
        elif field.repeated:
            self._extend(getattr(message, field.name), field, value, path, depth)
        else:
            self._count(path)
            if field.convert is not None:
                setattr(message, field.name, field.convert(value, path))
                return
            nested = getattr(message, field.name)
            nested.SetInParent()
            self.fill(nested, value, path, depth + 1)

    def _fill_map(self, entries: Any, value: Any, path: str, depth: int) -> None:
        """Sets the entries of a map from texts to messages."""
        if type(value) is not dict:
            wrong(value, "a JSON object", path)
        for key, item in value.items():
            self._count(path)
            self.fill(entries[read_text(key, path)], item, f"{path}.{shown(key)}", depth + 1)

    def _extend(self, items: Any, field: _Field, value: Any, path: str, depth: int) -> None:
        if type(value) is not list:
            wrong(value, "a list", path)
        if field.largest and are_numbers(value, field.largest):
            self._count(path)
            items.extend(value)
            return
        for index, item in enumerate(value):
            self._count(path)
            where = f"{path}[{index}]"
            if field.convert is not None:
                items.append(field.convert(item, where))
            else:
                self.fill(items.add(), item, where, depth + 1)

    def _count(self, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise too_many_fields(self._most, re.split(r"[.\[]", path)[0])


def _unknown(kind: Descriptor, key: str, path: str) -> InvalidInput:
    known = ", ".join(field.json_name for field in kind.fields) or "no fields"
    where = f"{path}.{shown(key)}" if path else shown(key)
    return InvalidInput(f"there is no field {shown(key)!r} here; {kind.name} has {known}", field=where)
