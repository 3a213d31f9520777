"""TLS of the web server: handshakes have the same bounds, and new connections get new certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.server import WebServer, listen
from clipserve_gateway.process.tls import ServerTls, server_tls
from clipserve_gateway.settings import Settings

from testing.certificates import Authority, Pair, serial_of
from testing.raw_http import connect, exchange, request, status, until_closed


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue()


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    """The context of a client that trusts the authority."""
    return ssl.create_default_context(cadata=authority.certificate.decode())


@pytest.fixture
def tls(tmp_path: Path, pair: Pair) -> ServerTls:
    certificate, key = pair.write(tmp_path)
    tls = server_tls(Settings(tls_certificate=certificate, tls_key=key))
    assert tls is not None
    return tls


Serve = Callable[..., Awaitable[WebServer]]


@pytest.fixture
async def serve(echo: Callable[..., Any], quick: HttpLimits):
    """Starts web servers with TLS."""
    servers: list[WebServer] = []

    async def start(tls: ServerTls, limits: HttpLimits = quick) -> WebServer:
        web = WebServer(echo, listen("127.0.0.1", 0), limits, tls.context)
        servers.append(web)
        await web.start()
        return web

    yield start
    for web in servers:
        await web.stop(0)


async def test_a_request_is_answered(serve: Serve, tls, trusting):
    web = await serve(tls)
    assert (await exchange(web.port, request("POST /", b"hello"), trusting)).endswith(b"\r\n\r\nhello")


async def test_large_bodies_and_answers_pass(serve: Serve, tls, trusting, quick):
    web = await serve(tls, replace(quick, stall_seconds=30, rate_seconds=30))
    body = bytes(range(256)) * 16_000
    assert (await exchange(web.port, request("POST /", body), trusting)).endswith(body)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", request()])
async def test_a_connection_without_a_handshake_is_closed(serve: Serve, tls, sent):
    web = await serve(tls)
    assert not (await exchange(web.port, sent)).startswith(b"HTTP")
    assert not web._open


async def test_one_more_handshake_closes_the_oldest(serve: Serve, tls, trusting, quick):
    web = await serve(tls, replace(quick, connections=3, head_seconds=30))
    silent = [asyncio.create_task(until_closed(await connect(web.port))) for _ in range(3)]
    while len(web._open) < 3:
        await asyncio.sleep(0.01)
    assert status(await exchange(web.port, request(), trusting)) == "HTTP/1.1 200 OK"
    await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED)
    assert silent[0].done()
    for task in silent:
        task.cancel()


async def test_headers_that_do_not_come_after_the_handshake_end_the_connection(serve: Serve, tls, trusting):
    web = await serve(tls)
    assert status(await exchange(web.port, b"GET /", trusting)) == "HTTP/1.1 408 Request Timeout"


async def test_an_answer_that_is_not_read_ends_its_connection(serve: Serve, tls, trusting):
    web = await serve(tls)
    _, writer = await connect(web.port, trusting)
    writer.transport.pause_reading()
    writer.write(request("GET /long"))
    while not web._open:
        await asyncio.sleep(0.01)
    while web._open:
        await asyncio.sleep(0.01)
    writer.transport.abort()


async def test_new_connections_get_the_new_certificate(serve: Serve, tls, authority, tmp_path):
    async def served() -> int:
        address = ("127.0.0.1", web.port)
        return serial_of((await asyncio.to_thread(ssl.get_server_certificate, address)).encode())

    web = await serve(tls)
    before, fresh = await served(), authority.issue()
    fresh.write(tmp_path)
    tls.files.refresh()
    assert (await served(), before != fresh.serial) == (fresh.serial, True)


async def test_a_client_without_a_certificate_is_refused(serve: Serve, authority, trusting, tmp_path):
    certificate, key = authority.issue().write(tmp_path)
    clients = Authority("clients")
    settings = Settings(tls_certificate=certificate, tls_key=key, tls_client_ca=clients.write(tmp_path))
    tls = server_tls(settings)
    assert tls is not None
    web = await serve(tls)
    try:
        answer = await exchange(web.port, request(), trusting)
    except ssl.SSLError:
        answer = b""
    assert answer == b""
    trusting.load_cert_chain(*clients.issue("me").write(tmp_path, "client"))
    assert status(await exchange(web.port, request(), trusting)) == "HTTP/1.1 200 OK"


async def test_a_stop_ends_handshakes(serve: Serve, tls, quick):
    web = await serve(tls, replace(quick, head_seconds=30))
    silent = await connect(web.port)
    while not web._open:
        await asyncio.sleep(0.01)
    await web.stop(0)
    assert await until_closed(silent) == b""
