"""The operations port: its pages, and what they say while event loops are held."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from clipserve_gateway.http_server import operations
from clipserve_gateway.http_server.operations import OperationsServer, loop_check
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from prometheus_client import CollectorRegistry

from testing.fakes import FakeBackend
from testing.raw_http import exchange, request, status

Pages = dict[str, Callable[[], str]]


async def test_a_loop_that_works_passes_its_check():
    assert await asyncio.to_thread(loop_check(asyncio.get_running_loop())) == ""


async def test_a_held_loop_fails_its_check_while_metrics_answer(monkeypatch, serve_pages):
    monkeypatch.setattr(operations, "ALIVE_SECONDS", 0.05)
    server = serve_pages({"/healthz": loop_check(asyncio.get_running_loop())})
    answers: list[str] = []

    def ask() -> None:
        pages = ("/healthz", "/metrics")
        answers.extend(status(asyncio.run(exchange(server.port, request(f"GET {page}")))) for page in pages)

    asking = threading.Thread(target=ask)
    asking.start()
    # This holds the loop that is checked.
    asking.join()
    assert answers == ["HTTP/1.1 503 Service Unavailable", "HTTP/1.1 200 OK"]


@pytest.fixture
def serve_pages() -> Iterator[Callable[..., OperationsServer]]:
    """Starts servers of checks and pages."""
    servers: list[OperationsServer] = []

    def start(checks: Pages, pages: Pages | None = None) -> OperationsServer:
        server = OperationsServer("127.0.0.1", 0, CollectorRegistry(), checks, pages)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    ("line", "answer", "body"),
    [
        ("GET /healthz", "HTTP/1.1 200 OK", b"ok\n"),
        ("GET /healthz?x=1", "HTTP/1.1 200 OK", b"ok\n"),
        ("HEAD /healthz", "HTTP/1.1 200 OK", b""),
        ("GET /bad", "HTTP/1.1 503 Service Unavailable", b"wrong\n"),
        ("GET /models", "HTTP/1.1 200 OK", b"a page\n"),
        ("GET /metrics", "HTTP/1.1 200 OK", b""),
        ("GET /nope", "HTTP/1.1 404 Not Found", b"the pages are /healthz, /bad, /models and /metrics\n"),
        ("GET /healthz/", "HTTP/1.1 404 Not Found", b"the pages are /healthz, /bad, /models and /metrics\n"),
        ("POST /metrics", "HTTP/1.1 405 Method Not Allowed", b"Method Not Allowed\n"),
    ],
)
async def test_pages_and_methods(serve_pages, line, answer, body):
    server = serve_pages({"/healthz": lambda: "", "/bad": lambda: "wrong"}, {"/models": lambda: "a page"})
    given = await exchange(server.port, request(line))
    assert status(given) == answer
    assert given.endswith(body)


async def test_a_host_header_chooses_no_page(serve_pages):
    server = serve_pages({"/healthz": lambda: ""})
    assert (
        status(await exchange(server.port, request("GET /healthz", Host="x/models?#@"))) == "HTTP/1.1 200 OK"
    )


async def test_requests_at_the_same_time_share_a_check(serve_pages):
    going, runs = threading.Event(), []

    def check() -> str:
        runs.append(threading.active_count())
        going.wait()
        return ""

    server = serve_pages({"/readyz": check})
    asking = [asyncio.create_task(exchange(server.port, request("GET /readyz"))) for _ in range(50)]
    while not runs:
        await asyncio.sleep(0.01)
    # A caller that leaves takes nothing from the others.
    asking.pop().cancel()
    assert status(await exchange(server.port, request("GET /metrics"))) == "HTTP/1.1 200 OK"
    going.set()
    assert {status(answer) for answer in await asyncio.gather(*asking)} == {"HTTP/1.1 200 OK"}
    assert len(runs) < 50


async def test_a_check_that_raises_is_answered_and_logged(serve_pages, caplog):
    def check() -> str:
        raise ValueError("a fault of the check")

    server = serve_pages({"/healthz": check})
    answer = await exchange(server.port, request("GET /healthz"))
    assert status(answer) == "HTTP/1.1 500 Internal Server Error"
    assert "a fault of the check" in caplog.text


async def test_slow_connections_block_no_others(serve_pages):
    server = serve_pages({"/healthz": lambda: ""})
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(500)]
    for trickle in slow:
        trickle.sendall(b"GET /metr")
    assert status(await exchange(server.port, request("GET /metrics"))) == "HTTP/1.1 200 OK"
    for trickle in slow:
        trickle.close()


async def test_the_operations_port_has_an_address_of_its_own(tmp_path):
    settings = Settings(port=0, http_port=0, http_host="127.0.0.2", data=str(tmp_path))
    gateway = Gateway(settings, FakeBackend())
    await gateway.start()
    with socket.create_connection(("127.0.0.2", gateway.http_port)):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.http_port))
    await gateway.stop(drain_seconds=0, grace_seconds=1)


@pytest.mark.slow
async def test_metrics_and_health_while_the_gateways_loop_is_held_for_ten_seconds(serve):
    gateway = await serve()
    seen: list[tuple[str, float]] = []

    def ask() -> None:
        for path in ("/metrics", "/healthz", "/metrics"):
            answer = asyncio.run(exchange(gateway.http_port, request(f"GET {path}")))
            seen.append((status(answer), time.monotonic()))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(10)
    free = time.monotonic()
    await asyncio.to_thread(asking.join)
    assert [answer for answer, _ in seen] == [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 503 Service Unavailable",
        "HTTP/1.1 200 OK",
    ]
    assert seen[-1][1] < free


def test_a_port_in_use_is_an_error(serve_pages):
    server = serve_pages({})
    with pytest.raises(OSError, match="in use"):
        OperationsServer("127.0.0.1", server.port, CollectorRegistry(), {})
