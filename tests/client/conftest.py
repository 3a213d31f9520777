"""A fake server and a client of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from client.fake_server import FakeServer
from client.pictures import png
from clipserve import Client, RetryPolicy
from clipserve.tools.cli import main
from hypothesis import settings

from testing.certificates import Authority

# Other processes share the machine, so the time of one example means nothing.
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
    """Starts fake servers with given limits."""
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
def authority() -> Authority:
    """Signs the certificate of `tls_server`, without extensions that gRPC does not demand."""
    return Authority(extended=False)


@pytest.fixture(scope="session")
def tls_server(authority: Authority) -> Iterator[FakeServer]:
    """A fake server with TLS."""
    server = FakeServer(tls=authority.issue())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_address() -> Iterator[str]:
    server = FakeServer()
    yield server.address
    server.stop()


@pytest.fixture
def address(shared_address: str) -> str:
    """Address of the server for service_cases.py. End-to-end tests override it with a real server."""
    return shared_address


@pytest.fixture
def run(server, monkeypatch):
    """Runs a command against the fake server."""
    monkeypatch.setenv("CLIPSERVE_TARGET", server.address)
    monkeypatch.setenv("COLUMNS", "140")

    def run(*words, code=0, **kwargs):
        result = CliRunner().invoke(main, [str(word) for word in words], prog_name="clipserve", **kwargs)
        assert code is None or result.exit_code == code, (result.output, result.exception)
        return result

    return run


@pytest.fixture
def answer(run):
    """Runs a command and reads its JSON."""
    return lambda *words, **kwargs: json.loads(run(*words, "--json", **kwargs).stdout)


@pytest.fixture
def photos(tmp_path):
    """Five images in two folders, and files that are not images."""
    folder = tmp_path / "photos"
    for i, name in enumerate(("a.png", "b.png", "sea/c.png", "sea/d.jpg", "sea/[bold]e.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(i))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def close_folder(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a folder unreadable, also for root."""
    scandir = os.scandir

    def close(folder: Path) -> None:
        def refuse(path: Any) -> Any:
            if Path(path) == folder:
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

    return close
