"""Payloads and schemas in protobuf."""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence

from clipserve.v1 import collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve_gateway.convert.common import write_time
from clipserve_gateway.errors import InvalidInput, InvalidPayload, LimitExceeded
from clipserve_gateway.index.values import Payload, PayloadType, PayloadValue

FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_FIELDS = 64
MAX_COUNTED = 32
"""Payloads whose steps are counted; more payloads are always written in a thread."""

TYPES = {common_pb2.PayloadType.Value(f"PAYLOAD_TYPE_{kind.name}"): kind for kind in PayloadType}
KINDS = {
    "string_value": PayloadType.STRING,
    "int_value": PayloadType.INT,
    "double_value": PayloadType.DOUBLE,
    "bool_value": PayloadType.BOOL,
    "timestamp_value": PayloadType.TIMESTAMP,
    "string_list": PayloadType.STRING_LIST,
}


def read_schema(fields: Iterable[collection_pb2.PayloadField]) -> dict[str, PayloadType]:
    """Field → type, in the given order. Raises InvalidInput for invalid or repeated names, unknown types."""
    schema: dict[str, PayloadType] = {}
    seen: set[str] = set()
    for i, field in enumerate(fields):
        path = f"schema[{i}]"
        if i >= MAX_FIELDS:
            raise LimitExceeded(f"a schema has at most {MAX_FIELDS} fields", field="schema")
        if not FIELD_NAME.fullmatch(field.name):
            raise InvalidInput(
                f"field name {field.name[:80]!r} is not valid: use 1 to 64 letters, digits and underscores, "
                "not beginning with a digit",
                field=f"{path}.name",
            )
        if field.name.lower() in seen:
            raise InvalidInput(
                f"field {field.name[:80]!r} appears twice (upper and lower case count as the same)",
                field=f"{path}.name",
            )
        if field.type not in TYPES:
            raise InvalidInput(f"field {field.name[:80]!r} needs a type", field=f"{path}.type")
        seen.add(field.name.lower())
        schema[field.name] = TYPES[field.type]
    return schema


def write_schema(schema: Mapping[str, PayloadType]) -> list[collection_pb2.PayloadField]:
    """The fields of the schema."""
    return [
        collection_pb2.PayloadField(name=name, type=f"PAYLOAD_TYPE_{kind.name}")
        for name, kind in schema.items()
    ]


def unknown_field(name: str, schema: Mapping[str, PayloadType]) -> str:
    """The error text for a field that the schema does not have."""
    known = ", ".join(schema) or "none"
    return f"the schema has no field {name[:80]!r}; its fields are: {known}"


def read_value(value: common_pb2.Value, field: str) -> tuple[PayloadType, PayloadValue]:
    """A value and its type. Raises InvalidPayload if it is not set, not finite, or an invalid timestamp."""
    which = value.WhichOneof("kind")
    if which is None:
        raise InvalidPayload(f"the value is not set: set one of {', '.join(KINDS)}", field=field)
    kind = KINDS[which]
    if kind is PayloadType.STRING_LIST:
        return kind, list(value.string_list.values)
    if kind is PayloadType.TIMESTAMP:
        return kind, read_time(value.timestamp_value, field)
    plain: PayloadValue = getattr(value, which)
    if isinstance(plain, float) and not math.isfinite(plain):
        raise InvalidPayload("numbers must be finite", field=field)
    return kind, plain


def read_time(timestamp: Timestamp, field: str) -> dt.datetime:
    """The timestamp in UTC, with microseconds; years 1 to 9999."""
    try:
        if not 0 <= timestamp.nanos < 1_000_000_000:
            raise ValueError("nanos must be 0 to 999,999,999")
        return timestamp.ToDatetime(dt.timezone.utc)
    except (ValueError, OverflowError) as error:
        raise InvalidPayload(f"the timestamp is not valid: {error}", field=field) from None


def read_payload(
    payload: Mapping[str, common_pb2.Value], schema: Mapping[str, PayloadType], field: str
) -> Payload:
    """A point's payload. Raises InvalidPayload for unknown fields and for values of another type."""
    values: Payload = {}
    for name in payload:
        path = f'{field}["{name[:80]}"]'
        if name not in schema:
            raise InvalidPayload(unknown_field(name, schema), field=path)
        kind, value = read_value(payload[name], path)
        if kind is not schema[name]:
            raise InvalidPayload(
                f"field {name!r} must have type {schema[name].value}, not {kind.value}", field=path
            )
        values[name] = value
    return values


def write_payload(payload: Payload) -> dict[str, common_pb2.Value]:
    """A point's payload."""
    return {name: write_value(value) for name, value in payload.items()}


def payload_steps(payloads: Sequence[Payload]) -> int:
    """Approximate number of steps to write the payloads (see off_loop); large if there are many of them."""
    if len(payloads) > MAX_COUNTED:
        return sys.maxsize
    return sum(value_steps(value) for payload in payloads for value in payload.values())


def value_steps(value: PayloadValue) -> int:
    """One step per value, per string of a list, and per 256 characters of a string."""
    if isinstance(value, list):
        return len(value)
    return 1 + len(value) // 256 if isinstance(value, str) else 1


def write_value(value: PayloadValue) -> common_pb2.Value:
    """One value."""
    if isinstance(value, bool):
        return common_pb2.Value(bool_value=value)
    if isinstance(value, int):
        return common_pb2.Value(int_value=value)
    if isinstance(value, float):
        return common_pb2.Value(double_value=value)
    if isinstance(value, str):
        return common_pb2.Value(string_value=value)
    if isinstance(value, dt.datetime):
        return common_pb2.Value(timestamp_value=write_time(value))
    return common_pb2.Value(string_list=common_pb2.StringList(values=value))
