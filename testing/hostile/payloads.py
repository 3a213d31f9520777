"""Payloads that do not fit, and odd ones that do. Written into a collection of `SCHEMA`."""

from __future__ import annotations

import math
from collections.abc import Mapping

from clipserve.v1 import collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from testing.hostile.cases import ANSWERED, Item

INVALID = "PAYLOAD_INVALID"
Value = common_pb2.Value
Payload = Mapping[str, Value]

SCHEMA = [
    collection_pb2.PayloadField(name=name, type=kind)
    for name, kind in (
        ("name", common_pb2.PAYLOAD_TYPE_STRING),
        ("year", common_pb2.PAYLOAD_TYPE_INT),
        ("price", common_pb2.PAYLOAD_TYPE_DOUBLE),
        ("sold", common_pb2.PAYLOAD_TYPE_BOOL),
        ("taken", common_pb2.PAYLOAD_TYPE_TIMESTAMP),
        ("tags", common_pb2.PAYLOAD_TYPE_STRING_LIST),
    )
]


def text(value: str) -> Value:
    """A string value."""
    return Value(string_value=value)


def moment(seconds: int, nanos: int = 0) -> Value:
    """A timestamp value."""
    return Value(timestamp_value=Timestamp(seconds=seconds, nanos=nanos))


def tags(*values: str) -> Value:
    """A list of strings."""
    return Value(string_list=common_pb2.StringList(values=values))


def one(name: str, field: str, value: Value, reason: str = ANSWERED) -> Item[Payload]:
    """A payload of one field, at which the fault lies if there is one."""
    return Item(name, lambda: {field: value}, reason, f'payload["{field[:80]}"]' if reason else "")


PAYLOADS: list[Item[Payload]] = [
    one("payload field that is not there", "nope", text("a"), INVALID),
    one("payload field without name", "", text("a"), INVALID),
    one("payload field of another case", "Name", text("a"), INVALID),
    one("payload field of a long name", "n" * 10_000, text("a"), INVALID),
    one("payload field of a query", "name' OR 1=1", text("a"), INVALID),
    one("payload field of a path", "name.x[0]", text("a"), INVALID),
    one("payload field of the embedding's column", "embedding", text("a"), INVALID),
    one("payload field of the id's column", "id", text("a"), INVALID),
    one("payload value not set", "name", Value(), INVALID),
    one("payload number for a text", "name", Value(int_value=1), INVALID),
    one("payload text for a number", "year", text("1"), INVALID),
    one("payload double for an int", "year", Value(double_value=1), INVALID),
    one("payload int for a double", "price", Value(int_value=1), INVALID),
    one("payload int for a bool", "sold", Value(int_value=1), INVALID),
    one("payload text for a moment", "taken", text("2026-01-01"), INVALID),
    one("payload text for a list", "tags", text("a"), INVALID),
    one("payload list for a text", "name", tags("a"), INVALID),
    one("payload NaN", "price", Value(double_value=math.nan), INVALID),
    one("payload infinity", "price", Value(double_value=math.inf), INVALID),
    one("payload moment before the year 1", "taken", moment(-62135596801), INVALID),
    one("payload moment after the year 9999", "taken", moment(253402300800), INVALID),
    one("payload moment of 2⁶³ seconds", "taken", moment(2**63 - 1), INVALID),
    one("payload moment of −1 nanoseconds", "taken", moment(0, -1), INVALID),
    one("payload moment of 10⁹ nanoseconds", "taken", moment(0, 1_000_000_000), INVALID),
    Item("payload of 65 KiB", lambda: {"name": text("a" * 65 * 1024)}, INVALID, "payload"),
    Item("payload of 50000 tags", lambda: {"tags": tags(*["a"] * 50_000)}, INVALID, "payload"),
    Item(
        "payload of 9000 unknown fields",
        lambda: {f"field {i}": Value(bool_value=True) for i in range(9_000)},
        INVALID,
        "payload",
    ),
    Item("payload empty", dict, ANSWERED),
    one("payload text empty", "name", text("")),
    one("payload text of a NUL", "name", text("a\0b")),
    one("payload text of a query", "name", text("'; DROP TABLE points; --")),
    one("payload text of backslashes", "name", text("\\'\\\"\\")),
    one("payload text of 60 KiB", "name", text("é" * 30_000)),
    one("payload text of noncharacters", "name", text("\uffff\U0010ffff\ufeff\u202e")),
    one("payload smallest int", "year", Value(int_value=-(2**63))),
    one("payload largest int", "year", Value(int_value=2**63 - 1)),
    one("payload −0", "price", Value(double_value=-0.0)),
    one("payload smallest double", "price", Value(double_value=5e-324)),
    one("payload largest double", "price", Value(double_value=1.7976931348623157e308)),
    one("payload moment of the year 1", "taken", moment(-62135596800)),
    one("payload moment of the year 9999", "taken", moment(253402300799, 999_999_999)),
    one("payload list empty", "tags", tags()),
    one("payload list of empty texts", "tags", tags("", "", "")),
    one("payload list of 10000 tags", "tags", tags(*map(str, range(10_000)))),
]
