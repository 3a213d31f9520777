"""Gateways around a fake encoder that ask for tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from support.fakes import FakeBackend

Serve = Callable[..., Awaitable[Gateway]]


def secret(name: str) -> str:
    """The token that tests give to a caller of that name."""
    return f"{name}-0123456789abcdef"


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Starts gateways: settings, and `tokens`, the lines of a token file without the tokens themselves."""
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


def write_tokens(folder: Path, *lines: str) -> Path:
    """A token file: of each line `NAME OPTIONS…`, with the caller's token after the name."""
    words = [line.split() for line in lines]
    text = "\n".join(" ".join([name, secret(name), *options]) for name, *options in words)
    path = folder / "tokens"
    path.write_text(text + "\n")
    return path


class Caller:
    """Calls methods of a gateway, with a token or without."""

    def __init__(self, gateway: Gateway, token: str = "") -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}")
        self.metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def unary(self, stub: type, method: str, request: object) -> grpc.aio.UnaryUnaryCall:
        """Starts a call."""
        return getattr(stub(self.channel), method)(request, metadata=self.metadata)


@pytest.fixture
async def calls() -> AsyncIterator[Callable[..., Caller]]:
    """Makes callers of a gateway."""
    callers: list[Caller] = []

    def make(gateway: Gateway, name: str = "") -> Caller:
        callers.append(Caller(gateway, secret(name) if name else ""))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.channel.close()
