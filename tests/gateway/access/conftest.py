"""Gateways around a fake encoder that ask for tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from support.callers import Caller, write_tokens
from support.fakes import FakeBackend

Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts gateways with these settings, and with tokens where lines of a token file are given."""
    gateways: list[Gateway] = []

    async def start(*lines: str, **settings: object) -> Gateway:
        if lines:
            settings["token_file"] = str(write_tokens(tmp_path, *lines))
        gateway = Gateway(
            Settings(port=0, http_port=0, data=str(tmp_path / "data"), **settings), FakeBackend()
        )
        gateways.append(gateway)
        await gateway.start()
        await gateway.models.refresh()
        return gateway

    yield start
    for gateway in gateways:
        await gateway.stop(drain_seconds=0, grace_seconds=1)


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
