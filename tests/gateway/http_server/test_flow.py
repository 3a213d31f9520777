"""Received bytes are parsed in slices, and wait while the application or the parser needs time."""

from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.http_server import flow
from clipserve_gateway.http_server.flow import SLICE_BYTES, ReadFlow

DATA = bytes(range(256)) * 256


class Transport(asyncio.Transport):
    """Knows whether it reads."""

    reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return False


@pytest.fixture
def transport() -> Transport:
    return Transport()


async def test_long_parsing_gives_other_callbacks_their_turn(transport, monkeypatch):
    monkeypatch.setattr(flow, "TURN_SECONDS", 0)
    parsed: list[bytes] = []
    reading = ReadFlow(transport, parsed.append)
    reading.received(DATA)
    for turn in range(1, len(DATA) // SLICE_BYTES):
        assert (len(parsed), transport.reads) == (turn, False)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (b"".join(parsed), transport.reads) == (DATA, True)


async def test_bytes_wait_while_reading_is_paused(transport):
    parsed: list[bytes] = []

    def parse(data: bytes) -> None:
        parsed.append(data)
        reading.pause_reading()

    reading = ReadFlow(transport, parse)
    reading.received(DATA[: 2 * SLICE_BYTES])
    reading.received(DATA[2 * SLICE_BYTES :])
    while (count := len(parsed)) < len(DATA) // SLICE_BYTES:
        await asyncio.sleep(0)
        assert (len(parsed), transport.reads) == (count, False)
        reading.resume_reading()
        await asyncio.sleep(0)
    assert b"".join(parsed) == DATA


async def test_a_closed_connection_parses_nothing_more(transport, monkeypatch):
    monkeypatch.setattr(flow, "TURN_SECONDS", 0)
    parsed: list[bytes] = []
    reading = ReadFlow(transport, parsed.append)
    reading.received(DATA)
    reading.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(parsed) == 1
