"""A real gateway in its own process: what attacks on its HTTP ports make it hold, measured from outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testing.gateway_process import GatewayProcess, gateway_process
from testing.raw_http import Connection, connect, exchange, request, status

MIB = 1 << 20
HELD = 64 * MIB
"""The byte budget, into which large bodies must fit before they are read."""
EACH = 256 * 1024
"""More than one connection may hold without room: received bytes, objects, an answer under way."""
SPARE = 96 * MIB
"""What malloc keeps."""

TEXT = json.dumps({"inputs": [{"text": "a dog"}]}).encode()
EMBED = "POST /clipserve.v1.ClipService/Embed"


def embed(body: bytes = TEXT, **headers: str) -> bytes:
    return request(EMBED, body, Host="localhost", Content_Type="application/json", **headers)


ATTACKS: dict[str, bytes] = {
    "headers that do not end": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000,
    "a long line": b"GET /" + b"a" * MIB,
    "ten thousand headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
    "a body that stops": embed(bytes(MIB), Content_Length=str(15 * MIB)),
    "one-byte chunks": embed(close=False)[: -len(TEXT) - 2].replace(b"Content-Length: 35\r\n", b"")
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"1\r\n{\r\n" * 50_000,
    "pipelined calls": embed(close=False) * 2000,
    "a body for a page": request("POST /nope", bytes(MIB), Content_Length=str(100 * MIB)),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    settings = (f"max_held_bytes={HELD}", "log_level=WARNING", "api_port=0", "max_api_connections=400")
    folder: Path = tmp_path_factory.mktemp("gateway")
    with gateway_process(folder, *settings, delay=0.01) as gateway:
        yield gateway


async def attack(port: int, data: bytes) -> Connection:
    """A connection that sends and does not read."""
    connection = await connect(port)
    connection[1].transport.pause_reading()
    connection[1].write(data)
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("what", ATTACKS)
@pytest.mark.parametrize("listener", ["api", "operations"])
async def test_attacks_hold_bounded_memory_and_others_are_answered(
    gateway: GatewayProcess, what: str, listener: str, record_property: Callable[[str, object], None]
):
    port = gateway.api_port if listener == "api" else gateway.http_port
    count = 300
    before = gateway.rss
    gateway.forget_peak()
    attackers = [await attack(port, ATTACKS[what]) for _ in range(count)]
    for _ in range(5):
        answer = await exchange(gateway.api_port, embed())
        assert status(answer) in ("HTTP/1.1 200 OK", "HTTP/1.1 429 Too Many Requests")
        assert status(await exchange(gateway.http_port, request("GET /healthz"))) == "HTTP/1.1 200 OK"
    grown = gateway.peak - before
    record_property("MiB", grown / MIB)
    print(f"{what}, {listener}: {grown / MIB:.0f} MiB")
    for _, writer in attackers:
        writer.transport.abort()
    # A large body holds three times its size while it is in work.
    assert grown < 3 * HELD + count * EACH + SPARE
