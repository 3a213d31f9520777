"""A fake server and a client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from client.fake_server import FakeServer
from clipserve import Client, RetryPolicy
from hypothesis import settings

# The machine is shared: how long one example takes says nothing.
settings.register_profile("clipserve", deadline=None)
settings.load_profile("clipserve")

FAST = RetryPolicy(attempts=4, initial_backoff=0.01, max_backoff=0.02)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def make_server() -> Iterator[Callable[..., FakeServer]]:
    """Fake servers with limits of one's own."""
    servers: list[FakeServer] = []

    def make(**limits: int) -> FakeServer:
        servers.append(FakeServer(**limits))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.address, timeout=10, retry=FAST) as client:
        yield client


@pytest.fixture(scope="session")
def shared_address() -> Iterator[str]:
    server = FakeServer()
    yield server.address
    server.stop()


@pytest.fixture
def address(shared_address: str) -> str:
    """Where the cases of service_cases.py find a server; end-to-end tests give a real one's."""
    return shared_address
