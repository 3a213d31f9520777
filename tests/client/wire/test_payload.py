from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from clipserve.wire.payload import (
    read_payload,
    read_value,
    write_payload,
    write_schema,
    write_value,
)
from hypothesis import given
from hypothesis import strategies as st

texts = st.text(st.characters(codec="utf-8"), max_size=20)
moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.timezone.utc))
values = st.one_of(
    texts,
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    moments,
    st.lists(texts, max_size=5),
)


@given(st.dictionaries(texts, values, max_size=6))
def test_payloads_come_back_as_they_were(payload):
    assert read_payload(write_payload(payload)) == payload


@given(values)
def test_types_come_back_as_they_were(value):
    assert type(read_value(write_value(value))) is type(value)


def test_other_time_zones_come_back_in_utc():
    moment = dt.datetime(2024, 5, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    value = read_value(write_value(moment))
    assert value == moment
    assert value.tzinfo is dt.timezone.utc


def test_numpy_numbers_are_numbers():
    assert write_value(np.int32(5)).int_value == 5
    assert write_value(np.float32(0.5)).double_value == 0.5
    assert write_value(np.bool_(True)).bool_value is True


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2**63, ValueError, "64 bits"),
        (float("nan"), ValueError, "finite"),
        (float("inf"), ValueError, "finite"),
        (dt.datetime(2024, 1, 1), ValueError, "time zone"),
        ("\udcff", ValueError, "UTF-8"),
        (["a", 1], TypeError, "a payload value is"),
        (None, TypeError, "not NoneType"),
        (b"bytes", TypeError, "not bytes"),
        ({"a": 1}, TypeError, "not dict"),
    ],
)
def test_values_that_no_payload_holds_are_refused(value, error, text):
    with pytest.raises(error, match=text):
        write_value(value)


def test_schemas_name_their_types():
    with pytest.raises(ValueError, match="field 'a' has unknown type 'text'; the types are string, int"):
        write_schema({"a": "text"})
