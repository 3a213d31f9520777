from __future__ import annotations

import pickle

import grpc
import pytest
from client.fake_server import Refused
from clipserve import errors
from clipserve.errors import (
    BatchError,
    ClientNotUsable,
    ClipserveError,
    ImageUnreadable,
    Overloaded,
    Violation,
)
from clipserve.v1 import common_pb2
from clipserve.wire import status
from clipserve_gateway import errors as gateway
from hypothesis import given
from hypothesis import strategies as st

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClipserveError)]
OF_THE_CLIENT = {BatchError, ClientNotUsable, ClipserveError}
"""Raised only by the client."""


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind not in OF_THE_CLIENT])
def test_every_class_is_reached_by_its_code_and_reason(kind):
    assert status.error_class(kind.code, kind.reason) is kind


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode])
def test_every_status_code_becomes_an_error_with_that_code(code):
    failure = status.read_failure(code, "text", ())
    assert failure.error.code == code
    assert isinstance(failure.error, ClipserveError)
    assert not failure.answered


def test_the_reasons_of_the_gateway_all_have_a_class():
    # Other classes exist only in the gateway.
    kinds = [
        kind
        for kind in vars(gateway).values()
        if isinstance(kind, type) and issubclass(kind, gateway.ClipserveError) and "reason" in vars(kind)
    ]
    # The SDK speaks gRPC, and only HTTP has NOT_SUPPORTED.
    kinds = [kind for kind in kinds if kind.reason != "NOT_SUPPORTED"]
    reasons = {kind.reason for kind in kinds} - {"INTERNAL"}
    assert reasons == set(status.BY_REASON) - {ClientNotUsable.reason}
    for kind in kinds:
        if kind.reason != "INTERNAL":
            assert status.BY_REASON[kind.reason].__name__ == kind.__name__


def test_a_reason_under_another_code_falls_back_to_the_code():
    assert status.error_class("INTERNAL", "OVERLOADED") is errors.InternalError
    assert status.error_class("DATA_LOSS", "NEWS") is ClipserveError


def test_details_fill_every_field():
    refused = Refused(
        "RESOURCE_EXHAUSTED", "OVERLOADED", "no room", "inputs[1].image.content", retry_after=1.5
    )
    failure = status.read_failure(
        "RESOURCE_EXHAUSTED", "no room", refused.trailers(), lambda path: path.replace("inputs", "images")
    )
    error = failure.error
    assert failure.answered
    assert failure.may_retry
    assert isinstance(error, Overloaded)
    assert error.reason == "OVERLOADED"
    assert error.field == "images[1].image.content"
    assert error.violations == (Violation("images[1].image.content", "no room"),)
    assert error.metadata == {"a": "b"}
    assert error.retry_after == 1.5
    assert error.request_id == "fake-request"
    assert str(error) == "images[1].image.content: no room"


def test_pushback_is_a_delay_where_there_is_no_retry_info():
    trailers = (("grpc-retry-pushback-ms", "250"),)
    assert status.read_failure("UNAVAILABLE", "", trailers).error.retry_after == 0.25


@pytest.mark.parametrize("value", ["-1", "soon", ""])
def test_negative_or_unreadable_pushback_forbids_retries(value):
    failure = status.read_failure("UNAVAILABLE", "", (("grpc-retry-pushback-ms", value),))
    assert not failure.may_retry
    assert failure.error.retry_after is None


@given(st.binary(max_size=200))
def test_mangled_details_change_nothing_but_the_details(junk):
    failure = status.read_failure("UNAVAILABLE", "text", (("grpc-status-details-bin", junk),))
    assert failure.error.code == "UNAVAILABLE"
    assert failure.error.message == "text"


def test_item_statuses_become_errors():
    assert status.read_item(common_pb2.ItemStatus()) is None
    item = common_pb2.ItemStatus(
        code=3, reason="IMAGE_UNREADABLE", field="images[0].content", message="broken"
    )
    error = status.read_item(item, lambda path: path.replace("[0]", "[300]"))
    assert isinstance(error, ImageUnreadable)
    assert (error.code, error.field, error.message) == ("INVALID_ARGUMENT", "images[300].content", "broken")
    assert status.read_item(common_pb2.ItemStatus(code=99)).code == "UNKNOWN"


def test_batch_errors_say_how_many_and_what():
    one = BatchError({3: ImageUnreadable("broken", field="images[3]")}, 10, "result")
    assert str(one) == "1 of 10 items failed: images[3]: broken"
    assert one.code == "INVALID_ARGUMENT"
    two = BatchError({3: ImageUnreadable("broken"), 4: ImageUnreadable("empty")}, 10, None)
    assert str(two) == "2 of 10 items failed: broken and 1 more"


@pytest.mark.parametrize(
    "error",
    [
        Overloaded("busy", retry_after=2.0, metadata={"limit": "5"}, request_id="abc"),
        ImageUnreadable("broken", field="images[1]", violations=(Violation("images[1]", "broken"),)),
        BatchError({1: ImageUnreadable("broken")}, 2, [1, 2]),
    ],
)
def test_errors_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert {**copy.__dict__, "errors": 0} == {**error.__dict__, "errors": 0}
