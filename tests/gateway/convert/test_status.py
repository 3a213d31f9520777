from __future__ import annotations

import grpc
import pytest
from clipserve_gateway import errors
from clipserve_gateway.convert.status import (
    CODES,
    Code,
    code_of,
    error_of,
    item_status,
    rpc_status,
    trailers,
)
from google.rpc import error_details_pb2


def descendants(kind: type) -> set[type]:
    return {kind} | {below for child in kind.__subclasses__() for below in descendants(child)}


ALL = sorted(descendants(errors.ClipserveError) - {errors.ClipserveError}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_code_and_a_reason_of_its_own(kind):
    """But for those whose difference is no matter of callers: they have their parent's."""
    assert any(ancestor in CODES for ancestor in kind.__mro__)
    assert kind.reason.isupper()
    own = [other for other in ALL if other.reason == kind.reason and "reason" in vars(other)]
    assert own == [next(ancestor for ancestor in kind.__mro__ if "reason" in vars(ancestor))]


def test_every_input_error_is_the_callers_fault():
    for kind in descendants(errors.InvalidInput):
        assert code_of(kind("bad")) is Code.INVALID_ARGUMENT


def test_a_status_carries_one_error_info_and_the_field():
    status = rpc_status(errors.LimitExceeded("too many", field="images", limit=3))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert (info.reason, info.domain, dict(info.metadata)) == ("LIMIT_EXCEEDED", "clipserve", {"limit": "3"})
    assert status.details[1].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["images"]


def test_statuses_fit_into_headers_whatever_the_input_was():
    error = errors.InvalidInput("é" * 100_000, field="x" * 100_000)
    assert sum(len(value) for _, value in trailers(rpc_status(error), error)) < 6_000


def test_statuses_of_items_are_short_too():
    status = item_status(errors.InvalidInput("é" * 100_000, field="x" * 100_000), "images[3]")
    assert status.ByteSize() < 3_000


def test_an_items_path_goes_before_its_errors_own():
    status = item_status(errors.ImageUnreadable("broken", field="content"), "images[3]")
    assert (status.field, status.reason, status.code) == ("images[3].content", "IMAGE_UNREADABLE", 3)
    assert item_status(None, "images[3]").field == ""


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind.__module__ == errors.__name__])
def test_the_status_of_an_item_becomes_its_error_again(kind):
    error = error_of(item_status(kind("broken", field="content"), "images[3]"))
    assert isinstance(kind("broken"), type(error))
    assert (error.reason, error.message, error.field) == (kind.reason, "broken", "images[3].content")
    assert code_of(error) is code_of(kind("broken"))


def test_an_error_keeps_its_facts_when_its_place_is_told():
    located = errors.LimitExceeded("too long", field="text", limit=1).at("points[0]")
    assert (type(located), located.field, located.metadata) == (
        errors.LimitExceeded,
        "points[0].text",
        {"limit": "1"},
    )


@pytest.mark.parametrize("code", Code)
def test_codes_have_grpcs_names_and_numbers(code):
    assert grpc.StatusCode[code.name].value[0] == code
