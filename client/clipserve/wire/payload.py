"""Converts payload values and schemas to messages and back."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve.inputs.text_encoding import utf8
from clipserve.safe_text import quoted
from clipserve.types import Payload, PayloadValue
from clipserve.v1 import collection_pb2, common_pb2

INT64 = range(-(2**63), 2**63)

TYPES = {
    name.removeprefix("PAYLOAD_TYPE_").lower(): number
    for name, number in common_pb2.PayloadType.items()
    if number != common_pb2.PAYLOAD_TYPE_UNSPECIFIED
}
"""`string`, `int`, `double`, `bool`, `timestamp`, `string_list`."""
TYPE_NAMES = {number: name for name, number in TYPES.items()}


def write_value(value: PayloadValue) -> common_pb2.Value:
    """The message of one value. Raises TypeError or ValueError for values that a payload cannot hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return common_pb2.Value(bool_value=value)
    if isinstance(value, int):
        if value not in INT64:
            raise ValueError(f"{value} does not fit into 64 bits")
        return common_pb2.Value(int_value=value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite")
        return common_pb2.Value(double_value=value)
    if isinstance(value, str):
        return common_pb2.Value(string_value=utf8(value))
    if isinstance(value, dt.datetime):
        return common_pb2.Value(timestamp_value=write_timestamp(value))
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return common_pb2.Value(string_list=common_pb2.StringList(values=[utf8(item) for item in value]))
    raise TypeError(
        "a payload value is a str, int, float, bool, datetime with a time zone or list of str, "
        f"not {type(value).__name__}"
    )


def write_timestamp(value: dt.datetime) -> Timestamp:
    """The message of a datetime. Raises ValueError without a time zone, or outside of the years 1 to 9999."""
    if value.tzinfo is None:
        raise ValueError("a datetime needs a time zone, e.g. datetime.now(timezone.utc)")
    message = Timestamp()
    try:
        message.FromDatetime(value)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} is outside of the years 1 to 9999 in UTC") from None
    return message


def parse_timestamp(text: str) -> dt.datetime:
    """Parses an ISO 8601 date or time; without a time zone, it is UTC. Raises ValueError."""
    value = dt.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)


def read_value(value: common_pb2.Value) -> PayloadValue:
    kind = value.WhichOneof("kind")
    if kind == "timestamp_value":
        return value.timestamp_value.ToDatetime(dt.timezone.utc)
    if kind == "string_list":
        return list(value.string_list.values)
    scalar: PayloadValue = getattr(value, kind or "string_value")
    return scalar


def write_payload(payload: Payload) -> dict[str, common_pb2.Value]:
    return {name: write_value(value) for name, value in payload.items()}


def read_payload(payload: Mapping[str, common_pb2.Value]) -> dict[str, PayloadValue]:
    """A payload, sorted by field name."""
    return {name: read_value(payload[name]) for name in sorted(payload)}


def write_schema(schema: Mapping[str, str]) -> list[collection_pb2.PayloadField]:
    """The fields of a schema. Raises ValueError for unknown types."""
    for name, kind in schema.items():
        if kind not in TYPES:
            raise ValueError(
                f"field {quoted(name)} has unknown type {quoted(kind)}; the types are {', '.join(TYPES)}"
            )
    return [
        collection_pb2.PayloadField(name=name, type=f"PAYLOAD_TYPE_{kind.upper()}")
        for name, kind in schema.items()
    ]
