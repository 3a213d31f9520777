"""Payload values, schemas and embeddings between Python and messages."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve.inputs.text_encoding import utf8
from clipserve.safe_text import quoted
from clipserve.types import Floats, Payload, PayloadValue
from clipserve.v1 import collection_pb2, common_pb2

INT64 = range(-(2**63), 2**63)

TYPES: dict[str, common_pb2.PayloadType] = {
    "string": common_pb2.PAYLOAD_TYPE_STRING,
    "int": common_pb2.PAYLOAD_TYPE_INT,
    "double": common_pb2.PAYLOAD_TYPE_DOUBLE,
    "bool": common_pb2.PAYLOAD_TYPE_BOOL,
    "timestamp": common_pb2.PAYLOAD_TYPE_TIMESTAMP,
    "string_list": common_pb2.PAYLOAD_TYPE_STRING_LIST,
}
TYPE_NAMES = {number: name for name, number in TYPES.items()}


def write_value(value: PayloadValue) -> common_pb2.Value:
    """The message for one value; TypeError or ValueError for what a payload cannot hold."""
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
        return common_pb2.Value(timestamp_value=write_moment(value))
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return common_pb2.Value(string_list=common_pb2.StringList(values=[utf8(item) for item in value]))
    raise TypeError(
        "a payload value is a str, int, float, bool, datetime with a time zone or list of str, "
        f"not {type(value).__name__}"
    )


def write_moment(moment: dt.datetime) -> Timestamp:
    """The message for a moment; ValueError for one without a time zone, or out of the years 1 to 9999."""
    if moment.tzinfo is None:
        raise ValueError("a datetime needs a time zone, e.g. datetime.now(timezone.utc)")
    message = Timestamp()
    try:
        message.FromDatetime(moment)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} lies outside of the years 1 to 9999 in UTC") from None
    return message


def read_moment(text: str) -> dt.datetime:
    """An ISO 8601 date or moment; UTC where it names no zone. ValueError for others."""
    moment = dt.datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def read_value(value: common_pb2.Value) -> PayloadValue:
    """One value."""
    kind = value.WhichOneof("kind")
    if kind == "timestamp_value":
        return value.timestamp_value.ToDatetime(dt.timezone.utc)
    if kind == "string_list":
        return list(value.string_list.values)
    found: PayloadValue = getattr(value, kind or "string_value")
    return found


def write_payload(payload: Payload) -> dict[str, common_pb2.Value]:
    """The message's map."""
    return {name: write_value(value) for name, value in payload.items()}


def read_payload(payload: Mapping[str, common_pb2.Value]) -> dict[str, PayloadValue]:
    """A payload, its fields in the order of their names."""
    return {name: read_value(payload[name]) for name in sorted(payload)}


def write_schema(schema: Mapping[str, str]) -> list[collection_pb2.PayloadField]:
    """The fields of a schema; ValueError for types that are none."""
    for name, kind in schema.items():
        if kind not in TYPES:
            raise ValueError(
                f"field {quoted(name)} cannot be of type {quoted(kind)}; there are {', '.join(TYPES)}"
            )
    return [collection_pb2.PayloadField(name=name, type=TYPES[kind]) for name, kind in schema.items()]


def write_embedding(embedding: npt.ArrayLike) -> common_pb2.Embedding:
    """The message for D numbers; ValueError for another shape, or for numbers that float32 cannot hold."""
    with np.errstate(over="ignore"):
        numbers = np.asarray(embedding).astype("<f4")
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"an embedding has shape [D], not {list(numbers.shape)}")
    if not np.isfinite(numbers).all():
        raise ValueError("an embedding must not have NaN or infinite numbers")
    return common_pb2.Embedding(float32_le=numbers.tobytes())


def read_embedding(embedding: common_pb2.Embedding) -> Floats:
    """float32 [D], whichever way it was written."""
    kind = embedding.WhichOneof("data")
    if kind == "float16_le":
        return np.frombuffer(embedding.float16_le, "<f2").astype(np.float32)
    if kind == "values":
        return np.array(embedding.values.values, np.float32)
    return np.frombuffer(embedding.float32_le, "<f4").astype(np.float32)
