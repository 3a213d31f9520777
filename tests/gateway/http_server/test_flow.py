"""Received bytes are parsed in turns, and wait while the application or other connections need time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from clipserve_gateway.http_server import flow
from clipserve_gateway.http_server.flow import FIRST_BYTES, LEAST_BYTES, MOST_BYTES, ReadFlow, Turns

DATA = bytes(range(256)) * 256


class Transport(asyncio.Transport):
    """Knows whether it reads."""

    reads = True
    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return False


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
def turns() -> Turns:
    return Turns()


def reading(
    turns: Turns, parse: Callable[[bytes], None], transport: Transport | None = None, most: int = 4096
) -> ReadFlow:
    return ReadFlow(transport or Transport(), turns, parse, lambda: most)


async def test_other_callbacks_run_between_turns(turns, transport, monkeypatch):
    monkeypatch.setattr(flow, "TURN_SECONDS", 0)
    parsed: list[bytes] = []
    reading(turns, parsed.append, transport).received(DATA)
    for turn in range(len(DATA) // 4096):
        assert len(parsed) == turn
        await asyncio.sleep(0)
        assert transport.reads is (turn == len(DATA) // 4096 - 1)
    assert b"".join(parsed) == DATA


async def test_connections_take_turns(turns, monkeypatch):
    parsed: list[str] = []
    for name in "ab":
        reading(turns, lambda _, name=name: parsed.append(name)).received(DATA[: 3 * 4096])
    while len(parsed) < 6:
        await asyncio.sleep(0)
    assert parsed == list("ababab")


async def test_an_error_of_one_connection_hurts_no_other(turns):
    parsed: list[bytes] = []

    def fail(_: bytes) -> None:
        raise ValueError

    transport = Transport()
    reading(turns, fail, transport).received(b"bad")
    reading(turns, parsed.append).received(b"good")
    for _ in range(3):
        await asyncio.sleep(0)
    assert (parsed, transport.aborted) == ([b"good"], True)


async def test_bytes_wait_while_reading_is_paused(turns, transport):
    parsed: list[bytes] = []

    def parse(data: bytes) -> None:
        parsed.append(data)
        waiting.pause_reading()

    waiting = reading(turns, parse, transport)
    waiting.received(DATA[:8192])
    waiting.received(DATA[8192:])
    for count in range(1, len(DATA) // 4096 + 1):
        for _ in range(3):
            await asyncio.sleep(0)
        assert (len(parsed), transport.reads) == (count, False)
        waiting.resume_reading()
    assert b"".join(parsed) == DATA


@pytest.mark.parametrize(("seconds", "last"), [(0.0, MOST_BYTES), (0.003, LEAST_BYTES)])
async def test_slices_become_as_large_as_they_are_quick(turns, monkeypatch, seconds, last):
    sizes: list[int] = []
    now = 0.0
    monkeypatch.setattr(flow, "time", SimpleNamespace(perf_counter=lambda: now))

    def parse(data: bytes) -> None:
        nonlocal now
        now += seconds
        sizes.append(len(data))

    reading(turns, parse, most=MOST_BYTES).received(DATA * 4)
    while sum(sizes) < 4 * len(DATA):
        await asyncio.sleep(0)
    assert (sizes[0], last in sizes) == (FIRST_BYTES, True)


async def test_a_closed_connection_parses_nothing_more(turns, monkeypatch):
    monkeypatch.setattr(flow, "TURN_SECONDS", 0)
    parsed: list[bytes] = []
    closing = reading(turns, parsed.append)
    closing.received(DATA)
    await asyncio.sleep(0)
    closing.close()
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(parsed) == 1
