from __future__ import annotations

import datetime as dt

import pytest
from clipserve.v1 import collection_pb2, common_pb2
from clipserve_gateway.convert.payload import (
    read_payload,
    read_schema,
    read_value,
    write_schema,
    write_value,
)
from clipserve_gateway.errors import InvalidInput, InvalidPayload, LimitExceeded
from clipserve_gateway.index.values import PayloadType
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

MOMENTS = st.datetimes(timezones=st.just(dt.timezone.utc))
VALUES = st.one_of(
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    MOMENTS,
    st.lists(st.text()),
)


@given(VALUES)
def test_a_value_survives_the_wire(value):
    message = common_pb2.Value.FromString(write_value(value).SerializeToString())
    kind, plain = read_value(message, "x")
    assert plain == value
    assert type(plain) is type(value)
    assert kind in PayloadType


@pytest.mark.parametrize(
    "value",
    [
        common_pb2.Value(),
        common_pb2.Value(double_value=float("nan")),
        common_pb2.Value(double_value=float("inf")),
        common_pb2.Value(timestamp_value=Timestamp(seconds=10**15)),
        common_pb2.Value(timestamp_value=Timestamp(nanos=-1)),
        common_pb2.Value(timestamp_value=Timestamp(nanos=1_000_000_000)),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused(value):
    with pytest.raises(InvalidPayload) as raised:
        read_value(value, 'payload["x"]')
    assert raised.value.field == 'payload["x"]'


def field(name: str, type: int = common_pb2.PAYLOAD_TYPE_INT) -> collection_pb2.PayloadField:
    return collection_pb2.PayloadField(name=name, type=type)


def test_a_schema_survives_the_wire_in_its_order():
    schema = {f"Field_{kind.value}": kind for kind in PayloadType}
    assert list(read_schema(write_schema(schema)).items()) == list(schema.items())


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ([field("")], "schema[0].name"),
        ([field("1a")], "schema[0].name"),
        ([field("a b")], "schema[0].name"),
        ([field("a" * 65)], "schema[0].name"),
        ([field("a"), field("A")], "schema[1].name"),
        ([field("a", common_pb2.PAYLOAD_TYPE_UNSPECIFIED)], "schema[0].type"),
        ([field("a", 77)], "schema[0].type"),
    ],
)
def test_a_bad_schema_names_the_field(fields, path):
    with pytest.raises(InvalidInput) as raised:
        read_schema(fields)
    assert raised.value.field == path


def test_a_schema_has_a_bounded_number_of_fields():
    with pytest.raises(LimitExceeded):
        read_schema([field(f"f{i}") for i in range(65)])


def test_a_payload_must_fit_the_schema():
    schema = {"year": PayloadType.INT}
    assert read_payload({"year": common_pb2.Value(int_value=3)}, schema, "payload") == {"year": 3}
    for payload in ({"Year": common_pb2.Value(int_value=3)}, {"year": common_pb2.Value(string_value="3")}):
        with pytest.raises(InvalidPayload) as raised:
            read_payload(payload, schema, "points[3].payload")
        assert raised.value.field == f'points[3].payload["{next(iter(payload))}"]'
