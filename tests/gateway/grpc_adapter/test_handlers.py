"""gRPC's calls become calls without gRPC."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from clipserve_gateway.grpc_adapter.handlers import MAX_SECONDS, call_of


def context(seconds: float | None) -> SimpleNamespace:
    return SimpleNamespace(
        time_remaining=lambda: seconds, peer=lambda: "ipv4:127.0.0.1:1", invocation_metadata=lambda: None
    )


METHOD = SimpleNamespace(name="Embed", streaming=False)


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_deadlines_that_grpc_cannot_pass_on_are_cut(seconds):
    assert call_of(METHOD, context(seconds)).deadline.remaining() <= MAX_SECONDS


def test_a_call_without_a_deadline_has_none():
    assert call_of(METHOD, context(None)).deadline is None
