"""Bodies over a real connection: too long, without end, and given up by the client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from clipserve_gateway.server import Gateway

from tests.gateway.http_adapter.conftest import EMBED

Serve = Callable[..., Awaitable[Gateway]]
HEAD = f"POST {EMBED} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
TEXT = b'{"inputs": [{"text": "a dog"}]}'


@contextlib.asynccontextmanager
async def connected(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.api_port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, object]]:
    """Status and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().splitlines() if line.startswith("content-length:"))
    return int(head.split()[1]), json.loads(await reader.readexactly(int(length.split(":")[1])))


async def released(gateway: Gateway) -> None:
    """Waits until all calls have given back their room."""
    while gateway.parts.intake.budget.used or len(gateway.parts.intake.calls):
        await asyncio.sleep(0.01)


async def test_a_body_of_100_megabytes_is_refused_before_it_is_sent(serve: Serve):
    gateway = await serve(api_port=0)
    async with connected(gateway) as (reader, writer):
        writer.write((HEAD + "content-length: 100000000\r\nexpect: 100-continue\r\n\r\n").encode())
        status, error = await answer(reader)
    assert (status, error["code"]) == (413, "invalid_argument")
    await released(gateway)


async def test_a_body_without_end_is_refused_at_the_limit(serve: Serve):
    gateway = await serve(api_port=0, max_json_bytes=1 << 20)
    async with connected(gateway) as (reader, writer):
        writer.write((HEAD + "transfer-encoding: chunked\r\n\r\n").encode())

        async def send_for_ever() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                    await writer.drain()

        sending = asyncio.create_task(send_for_ever())
        status, error = await answer(reader)
        sending.cancel()
    assert (status, error["code"]) == (413, "invalid_argument")
    await released(gateway)


async def test_a_chunked_body_is_read_whole(serve: Serve):
    gateway = await serve(api_port=0)
    async with connected(gateway) as (reader, writer):
        writer.write((HEAD + "transfer-encoding: chunked\r\n\r\n").encode())
        for byte in TEXT:
            writer.write(b"1\r\n" + bytes([byte]) + b"\r\n")
        writer.write(b"0\r\n\r\n")
        status, body = await answer(reader)
    assert (status, len(body["results"])) == (200, 1)


async def test_a_client_that_leaves_within_its_body_cancels_its_call(
    serve: Serve, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, "clipserve.access")
    gateway = await serve(api_port=0)
    async with connected(gateway) as (_, writer):
        writer.write(f"{HEAD}content-length: {len(TEXT)}\r\n\r\n".encode() + TEXT[:10])
        while not len(gateway.parts.intake.calls):
            await asyncio.sleep(0.01)
    await released(gateway)
    lines = [record.fields for record in caplog.records if record.name == "clipserve.access"]
    assert [(line["method"], line["code"]) for line in lines] == [("Embed", "CANCELLED")]
