"""Values of JSON as values of protobuf's fields. InvalidInput is raised for others, and repeats none."""

from __future__ import annotations

import binascii
import functools
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.http_adapter.json_text import kind_of, shown

Convert = Callable[[Any, str], Any]
"""Takes a value and the path of its field."""

PIECE = 1 << 20
"""Characters of base64 that are decoded at once. Other threads wait meanwhile, about 8 ms."""
FLOAT_MAX = math.nextafter(2.0**128 - 2.0**103, 0.0)
"""The largest number that becomes a finite float32; float32's own maximum is a little below."""
DOUBLE_MAX = float(np.finfo(np.float64).max)
TIMESTAMP_CHARACTERS = 64
INTEGER = re.compile(r"-?[0-9]{1,20}")
NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,10})?|NaN|-?Infinity")


def converter(field: FieldDescriptor) -> Convert:
    """Reads the values of a field that is not a message."""
    if field.type == field.TYPE_BYTES:
        return read_bytes
    if field.enum_type is not None:
        return functools.partial(read_enum, field.enum_type)
    return _CONVERTERS[field.cpp_type]


def largest_number(field: FieldDescriptor) -> float:
    """The largest number of a field of floats; 0 for other fields."""
    return {field.CPPTYPE_FLOAT: FLOAT_MAX, field.CPPTYPE_DOUBLE: DOUBLE_MAX}.get(field.cpp_type, 0.0)


def are_numbers(values: list[Any], largest: float) -> bool:
    """Whether all are numbers within the range: then they need not be read one by one."""
    if not set(map(type, values)) <= {int, float}:
        return False
    try:
        return bool((np.abs(np.array(values, np.float64)) <= largest).all())
    except OverflowError:
        return False


def name_in(path: str) -> str:
    """The last name of a path, for the sentence of an error."""
    return path.rpartition(".")[2] or "the request"


def wrong(value: Any, wanted: str, path: str) -> NoReturn:
    """Raises InvalidInput for a value of the wrong kind."""
    raise InvalidInput(f"{name_in(path)} must be {wanted}, not {kind_of(value)}", field=path)


def read_bytes(value: Any, path: str) -> bytes:
    """The bytes that a text has in base64, in either alphabet, padded or not."""
    if type(value) is not str:
        wrong(value, "a string of base64", path)
    try:
        return decode_base64(value)
    except ValueError:
        raise InvalidInput(
            f"{name_in(path)} is not base64; encode it in one line, e.g. by `base64 -w0`", field=path
        ) from None


def decode_base64(text: str) -> bytes:
    """The bytes. Raises ValueError for any character that does not belong there."""
    if "-" in text or "_" in text:
        text = text.translate({ord("-"): "+", ord("_"): "/"})
    text += "=" * (-len(text) % 4) * ("=" not in text[-2:])
    if len(text) % 4 or "=" in text[:-2]:
        raise ValueError("wrong length or padding")
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    return b"".join(binascii.a2b_base64(piece, strict_mode=True) for piece in pieces)


def read_text(value: Any, path: str) -> str:
    """The text, which protobuf can encode."""
    if type(value) is not str:
        wrong(value, "a string", path)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(
                f"{name_in(path)} has half of a surrogate pair (\\ud800 … \\udfff)", field=path
            ) from None
    return value


def read_bool(value: Any, path: str) -> bool:
    """A JSON true or false; numbers and strings are refused."""
    if type(value) is not bool:
        wrong(value, "true or false", path)
    return value


def read_integer(low: int, high: int, value: Any, path: str) -> int:
    """The integer, also from 1.0 or "1", as protobuf's JSON allows."""
    number = value
    if (type(value) is float and value.is_integer()) or (type(value) is str and INTEGER.fullmatch(value)):
        number = int(value)
    if type(number) not in (int, float):
        wrong(value, "an integer", path)
    if type(number) is float or not low <= number <= high:
        raise InvalidInput(f"{name_in(path)} must be an integer from {low} to {high}", field=path)
    return int(number)


def read_number(largest: float, value: Any, path: str) -> float:
    """The number, also from "1.5", "NaN" or "Infinity", as protobuf's JSON allows."""
    if type(value) is str and NUMBER.fullmatch(value):
        number = float(value)
        if "n" in value or "N" in value:
            return number
    elif type(value) is int or type(value) is float:
        number = float(value) if abs(value) <= DOUBLE_MAX else np.inf
    else:
        wrong(value, "a number", path)
    if abs(number) > largest:
        raise InvalidInput(f"{name_in(path)} must be from {-largest:g} to {largest:g}", field=path)
    return number


def read_enum(kind: EnumDescriptor, value: Any, path: str) -> int:
    """The number of an enum's value, given by its name or number; 1.0 is neither."""
    if type(value) is int:
        return read_integer(-(1 << 31), (1 << 31) - 1, value, path)
    if type(value) is not str:
        wrong(value, "a name in a string, or an integer without a decimal point", path)
    # A map of descriptors fails for a text that protobuf cannot encode.
    name = read_text(value, path)
    if name not in kind.values_by_name:
        raise InvalidInput(f"{shown(name)!r} is not one of {', '.join(kind.values_by_name)}", field=path)
    return int(kind.values_by_name[name].number)


def fill_timestamp(message: Any, value: Any, path: str) -> None:
    """Sets a google.protobuf.Timestamp."""
    if type(value) is not str:
        wrong(value, "a time in a string, e.g. 2026-11-30T12:00:00Z", path)
    try:
        if len(value) > TIMESTAMP_CHARACTERS:
            raise ValueError("too long")
        message.FromJsonString(value)
    except (ValueError, OverflowError):
        raise InvalidInput(
            f"{name_in(path)} is not a time; write it like 2026-11-30T12:00:00Z", field=path
        ) from None


_CONVERTERS: dict[int, Convert] = {
    FieldDescriptor.CPPTYPE_STRING: read_text,
    FieldDescriptor.CPPTYPE_BOOL: read_bool,
    FieldDescriptor.CPPTYPE_FLOAT: functools.partial(read_number, FLOAT_MAX),
    FieldDescriptor.CPPTYPE_DOUBLE: functools.partial(read_number, DOUBLE_MAX),
    FieldDescriptor.CPPTYPE_INT32: functools.partial(read_integer, -(1 << 31), (1 << 31) - 1),
    FieldDescriptor.CPPTYPE_INT64: functools.partial(read_integer, -(1 << 63), (1 << 63) - 1),
    FieldDescriptor.CPPTYPE_UINT32: functools.partial(read_integer, 0, (1 << 32) - 1),
    FieldDescriptor.CPPTYPE_UINT64: functools.partial(read_integer, 0, (1 << 64) - 1),
}
