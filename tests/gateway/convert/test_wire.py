"""Fields are counted as the parser will find them, without parsing."""

from __future__ import annotations

import time

import pytest
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve_gateway.convert import wire
from clipserve_gateway.convert.wire import check_fields, read_varint
from clipserve_gateway.errors import LimitExceeded
from clipserve_gateway.settings import Settings
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from testing.hostile.sound import sound
from testing.hostile.wire import delimited, nested, tag, varint

LIMITS = Settings(max_items_per_call=1, max_labels=1).limits


@pytest.fixture(autouse=True)
def _look_at_all(monkeypatch):
    monkeypatch.setattr(wire, "FREE_BYTES", 0)


@pytest.fixture
def most(monkeypatch):
    """Sets how many fields a message may have."""

    def fields(number: int) -> None:
        monkeypatch.setattr(wire, "SPARE_FIELDS", number - 6)

    return fields


def count(message: Message) -> int:
    """Fields of a message and of those in it."""
    fields = 0
    for field, value in message.ListFields():
        values = [value]
        if field.is_repeated:
            packed = field.message_type is None and field.is_packed
            values = [value] if packed else list(value)
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                fields += sum(2 + (0 if isinstance(it, str) else count(it)) for it in value.values())
                fields += len(value)
                continue
        fields += len(values)
        fields += sum(count(it) for it in values if isinstance(it, Message))
    return fields


@pytest.mark.parametrize("method", list(sound(4)))
def test_a_message_may_have_so_many_fields_and_none_more(method, most):
    request = sound(4)[method].request
    data = request.SerializeToString()
    most(count(request))
    check_fields(type(request), data, LIMITS)
    if data:
        most(count(request) - 1)
        with pytest.raises(LimitExceeded):
            check_fields(type(request), data, LIMITS)


def test_the_field_that_goes_too_far_is_named(most):
    most(10)
    request = clip_pb2.EmbedRequest(model="a", inputs=[clip_pb2.EmbedInput(text="b")] * 9)
    with pytest.raises(LimitExceeded) as caught:
        check_fields(type(request), request.SerializeToString(), LIMITS)
    assert (caught.value.field, caught.value.metadata) == ("inputs", {"limit": "10"})


def test_groups_and_unknown_fields_count_and_hide_nothing(most):
    kind = common_pb2.Filter
    group = tag(9, 3) + delimited(6, delimited(6, b"")) + tag(9, 4)
    data = (
        group
        + delimited(99, b"x" * 50)
        + tag(98, 1)
        + bytes(8)
        + tag(97, 5)
        + bytes(4)
        + tag(96, 0)
        + b"\x01"
    )
    # The group's start, end and content; four unknown fields; and a filter in a filter.
    data += nested(6, 2)
    most(9)
    check_fields(kind, data, LIMITS)
    most(8)
    with pytest.raises(LimitExceeded):
        check_fields(kind, data, LIMITS)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_what_is_no_message_is_left_to_the_parser(junk, deep):
    data = nested(6, deep, junk)
    check_fields(common_pb2.Filter, data, LIMITS)


@given(st.integers(0, 2**64 - 1))
def test_numbers_are_read_as_they_are_written(number):
    assert read_varint(varint(number), 0) == (number, len(varint(number)))


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x05abc", b"\x13", b"\x14", b"\x16", b"\x12\x02\x12\x05"])
def test_the_same_bytes_are_no_message_to_the_parser(data):
    check_fields(collection_pb2.UpsertPointsRequest, data, LIMITS)
    with pytest.raises(DecodeError):
        collection_pb2.UpsertPointsRequest.FromString(data)


def test_a_full_message_of_nothing_is_refused_in_a_moment(most):
    most(100_000)
    data = delimited(2, b"") * (32 << 20)
    start = time.process_time()
    with pytest.raises(LimitExceeded):
        check_fields(clip_pb2.EmbedRequest, data, LIMITS)
    assert time.process_time() - start < 0.5


def test_small_messages_are_not_looked_at(most, monkeypatch):
    most(10)
    monkeypatch.setattr(wire, "FREE_BYTES", 40)
    check_fields(clip_pb2.EmbedRequest, delimited(2, b"") * 20, LIMITS)
    with pytest.raises(LimitExceeded):
        check_fields(clip_pb2.EmbedRequest, delimited(2, b"") * 21, LIMITS)
