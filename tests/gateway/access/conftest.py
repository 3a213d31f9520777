"""Callers of gateways that ask for tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from clipserve_gateway.server import Gateway

from testing.callers import Caller


@pytest.fixture
async def calls() -> AsyncIterator[Callable[..., Caller]]:
    """Makes callers of a gateway."""
    callers: list[Caller] = []

    def make(gateway: Gateway, name: str = "") -> Caller:
        callers.append(Caller(gateway, name))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.channel.close()
