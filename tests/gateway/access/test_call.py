"""What a call tells without its protocol."""

from __future__ import annotations

import pytest
from clipserve_gateway.access.call import Call


@pytest.mark.parametrize("value", ["", "ä", "a\nb", "x" * 1000])
def test_request_ids_that_no_header_can_hold_are_replaced(value):
    request_id = Call("Embed", "peer", [("x-request-id", value)]).request_id
    assert request_id != value
    assert len(request_id) == 32


def test_a_callers_request_id_is_kept():
    assert Call("Embed", "peer", [("x-request-id", "a b-1")]).request_id == "a b-1"
