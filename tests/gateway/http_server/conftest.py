"""Web servers with short time-outs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from clipserve_gateway.http_server import operations, server
from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.operations import OperationsServer
from clipserve_gateway.http_server.server import WebServer, listen
from prometheus_client import CollectorRegistry

QUICK = HttpLimits(
    connections=20,
    head_bytes=8192,
    head_seconds=0.2,
    rate_seconds=0.2,
    stall_seconds=0.2,
    idle_seconds=0.2,
    linger_seconds=0.2,
)
"""Bounds whose end a test can wait for."""

Start = Callable[..., Awaitable[WebServer]]


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.02)


@pytest.fixture
def quick() -> HttpLimits:
    """The bounds of both listeners."""
    return QUICK


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts web servers of an ASGI application on the test's event loop."""
    servers: list[WebServer] = []

    async def started(
        app: Callable[..., Any], limits: HttpLimits = QUICK, context: ssl.SSLContext | None = None
    ) -> WebServer:
        web = WebServer(app, listen("127.0.0.1", 0), limits, (lambda: context) if context else None)
        servers.append(web)
        await web.start()
        return web

    yield started
    for web in servers:
        await web.stop(0)


@pytest.fixture(params=["api", "operations"])
async def port(
    request: pytest.FixtureRequest, start: Start, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """The port of each kind of listener: on the event loop, and in a thread of its own."""
    if request.param == "api":
        yield (await start(echo)).port
        return
    monkeypatch.setattr(operations, "LIMITS", QUICK)
    pages = {"/now": lambda: "", "/long": lambda: "x" * (32 << 20)}
    web = OperationsServer("127.0.0.1", 0, CollectorRegistry(), {"/healthz": lambda: ""}, pages)
    web.start()
    yield web.port
    await asyncio.to_thread(web.stop)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body of the request; /long with 32 MiB, and /now without reading the body."""
    body = b""
    while scope["path"] != "/now":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    if scope["path"] == "/long":
        body = b"x" * (32 << 20)
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(name="echo")
def echo_app() -> Callable[..., Any]:
    """See `echo`."""
    return echo
