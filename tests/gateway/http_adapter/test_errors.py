from __future__ import annotations

import pytest
from clipserve_gateway.convert.status import Code
from clipserve_gateway.http_adapter.errors import HTTP_STATUS, BodyTooLarge, connect_code, http_status


@pytest.mark.parametrize("code", sorted(set(Code) - {Code.OK}))
def test_every_code_has_a_status(code: Code):
    assert 400 <= HTTP_STATUS[code] < 600


def test_codes_have_the_names_of_the_protocol():
    assert connect_code(Code.INVALID_ARGUMENT) == "invalid_argument"
    assert connect_code(Code.CANCELLED) == "canceled"


def test_a_body_that_is_too_large_has_the_status_that_http_has_for_it():
    assert http_status(Code.INVALID_ARGUMENT, BodyTooLarge(5)) == 413
    assert http_status(Code.INVALID_ARGUMENT) == 400
