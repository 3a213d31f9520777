"""A gateway around a fake encoder, and connections to it by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings

from testing.fakes import FakeBackend


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    await gateway.begun()
    yield gateway
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        yield channel
