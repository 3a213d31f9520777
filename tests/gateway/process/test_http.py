"""The HTTP port's pages."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time

import pytest
from clipserve_gateway.process import http
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from prometheus_client import CollectorRegistry

from testing.fakes import FakeBackend


async def test_a_loop_that_works_passes_its_check():
    assert await asyncio.to_thread(http.loop_check(asyncio.get_running_loop())) == ""


async def test_a_blocked_loop_is_reported(monkeypatch):
    monkeypatch.setattr(http, "ALIVE_SECONDS", 0.05)
    check = http.loop_check(asyncio.get_running_loop())
    results = []
    thread = threading.Thread(target=lambda: results.append(check()))
    thread.start()
    time.sleep(0.3)
    thread.join()
    assert [bool(wrong) for wrong in results] == [True]


@pytest.fixture
def server():
    server = http.HttpServer(
        "127.0.0.1", 0, CollectorRegistry(), {"/healthz": lambda: "", "/bad": lambda: "w"}
    )
    server.start()
    yield server
    server.stop()


def ask(server: http.HttpServer, data: bytes, path: str = "") -> bytes:
    """The response to these bytes, until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(data or f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        # A server that closes with bytes unread resets the connection.
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                answer += more
        return answer


def first_line(answer: bytes) -> str:
    return answer.partition(b"\r\n")[0].decode()


def test_pages_and_methods(server):
    assert first_line(ask(server, b"", "/healthz")) == "HTTP/1.0 200 OK"
    assert ask(server, b"", "/healthz?x=1").endswith(b"\r\n\r\nok\n")
    assert first_line(ask(server, b"", "/bad")) == "HTTP/1.0 503 Service Unavailable"
    assert first_line(ask(server, b"", "/nope")) == "HTTP/1.0 404 Not Found"
    assert first_line(ask(server, b"", "/metrics")) == "HTTP/1.0 200 OK"
    assert ask(server, b"HEAD /healthz HTTP/1.1\r\n\r\n").endswith(b"Content-Length: 3\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"POST /metrics HTTP/1.1\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"GET /metrics SPDY/3\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
def test_other_requests_are_refused(server, data):
    assert first_line(ask(server, data)) == "HTTP/1.0 400 Bad Request"


def test_a_head_that_does_not_end_is_cut_off(server):
    assert ask(server, b"GET /" + b"a" * 3 * http.MAX_HEAD_BYTES) == b""


def test_slow_connections_block_no_others(server):
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            trickle = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            trickle.sendall(b"GET /metr")
        assert first_line(ask(server, b"", "/metrics")) == "HTTP/1.0 200 OK"
        assert threading.active_count() <= threads + http.THREADS


def test_the_oldest_slow_connection_is_closed_for_a_new_one(server, monkeypatch):
    monkeypatch.setattr(http, "CONNECTIONS", 2)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert first.recv(1) == b""


@pytest.mark.parametrize("what", ["its request", "its answer"])
def test_a_connection_that_is_slow_is_closed(monkeypatch, what):
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.1)
    server = http.HttpServer("127.0.0.1", 0, CollectorRegistry(), {"/long": lambda: "x" * (32 << 20)})
    server.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /lo" if what == "its request" else b"GET /long HTTP/1.1\r\n\r\n")
        while what == "its answer" and not server._connections:
            time.sleep(0.01)
        while server._connections:
            time.sleep(0.01)
    server.stop()


async def test_the_http_port_has_an_address_of_its_own(tmp_path):
    settings = Settings(port=0, http_port=0, http_host="127.0.0.2", data=str(tmp_path))
    gateway = Gateway(settings, FakeBackend())
    await gateway.start()
    with socket.create_connection(("127.0.0.2", gateway.http_port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.http_port))
    await gateway.stop(drain_seconds=0, grace_seconds=1)
