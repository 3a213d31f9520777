"""Messages that come slowly: what they hold, and when they lose it. The kernel's counts are made up here."""

from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.flow.byte_budget import ByteBudget
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.slow_callers import (
    FIRST_STEP_BYTES,
    FREE_BYTES,
    PATIENCE_SECONDS,
    QUICK_SECONDS,
    Reading,
    SlowCallers,
    patience,
)

MIB = 1 << 20
LARGEST = 64 * MIB
LATER = Deadline.after(3600)


class Network:
    """Connections by peer, what each has received, and a clock."""

    def __init__(self) -> None:
        self.bytes = {"a": 0, "b": 0, "c": 0}
        self.now = 0.0
        self.cut: list[str] = []
        self.unknown = False

    def received(self, fd: int) -> int | None:
        return None if self.unknown else list(self.bytes.values())[fd]

    def connections(self) -> dict[str, int]:
        return {peer: fd for fd, peer in enumerate(self.bytes)}

    def end(self, fd: int, peer: str) -> None:
        self.cut.append(peer)


class Place:
    """A budget, a network, and those who watch."""

    def __init__(self, room: int) -> None:
        self.network = Network()
        self.budget = ByteBudget(room)
        self.slow = SlowCallers(
            self.budget,
            LARGEST,
            received=self.network.received,
            connections=self.network.connections,
            cut=self.network.end,
            clock=lambda: self.network.now,
        )
        self.tasks: list[asyncio.Task[None]] = []

    def reading(self, peer: str = "a") -> Reading:
        """A message that is asked for, and never whole."""
        task = asyncio.ensure_future(asyncio.Event().wait())
        self.tasks.append(task)
        reading = Reading(peer, peer, task)
        self.slow.begin(reading)
        self.slow.watch_peer(peer)
        return reading

    def look(self, seconds: float = 2 * QUICK_SECONDS) -> None:
        """Looks, some time later."""
        self.network.now += seconds
        self.slow.look()


@pytest.fixture
async def place():
    place = Place(512 * MIB)
    yield place
    for task in place.tasks:
        task.cancel()


async def test_an_idle_stream_holds_nothing_however_long_it_waits(place):
    reading = place.reading()
    for _ in range(100):
        place.look(60.0)
    assert (reading.hold, reading.ended, place.budget.used) == (None, None, 0)


async def test_a_message_gets_room_as_it_comes(place):
    reading = place.reading()
    place.network.bytes["a"] = FREE_BYTES
    place.look()
    assert reading.room == 0
    place.network.bytes["a"] = FREE_BYTES + 1
    place.look()
    assert reading.room == FIRST_STEP_BYTES
    place.network.bytes["a"] = FIRST_STEP_BYTES + FREE_BYTES + 1
    place.look()
    assert reading.room == LARGEST == place.budget.used
    assert reading.ended is None


async def test_where_there_is_no_room_the_call_ends_and_others_stay(place):
    full = await place.budget.hold(512 * MIB, "other", LATER)
    idle, sender = place.reading("a"), place.reading("b")
    place.network.bytes["b"] = 3 * MIB
    place.look()
    assert sender.ended is not None
    assert sender.ended.metadata == {"limit": "held_bytes"}
    assert idle.ended is None
    full.release()


async def test_what_is_explained_is_not_counted_again(place):
    idle, whole = place.reading("a"), place.reading("a")
    place.look()
    for _ in range(50):
        place.network.bytes["a"] += 10 * MIB
        place.slow.end(whole, 10 * MIB + 1000)
        whole = place.reading("a")
        place.look()
    assert idle.ended is None
    assert place.budget.used == 0


async def test_a_message_that_its_caller_gives_up_is_forgotten(place):
    idle, given_up = place.reading("a"), place.reading("a")
    place.look()
    place.network.bytes["a"] = 4 * MIB
    place.look()
    assert given_up.room == FIRST_STEP_BYTES
    place.slow.end(given_up, None)
    given_up.hold.release()
    for _ in range(10):
        place.look()
    assert idle.ended is None
    assert idle.room <= FIRST_STEP_BYTES


async def test_many_connections_that_each_send_a_little_are_bounded_together():
    place = Place(16 * MIB)
    readings = [place.reading(peer) for peer in place.network.bytes]
    for peer, sent in (("a", MIB), ("b", MIB), ("c", MIB // 2)):
        place.network.bytes[peer] = sent
    place.look()
    assert sum(it.ended is not None for it in readings) == 1
    assert readings[2].ended is None, "it is not the one that sent most"
    for task in place.tasks:
        task.cancel()


async def test_a_slow_message_loses_its_room_once_others_wait_and_not_before(place):
    slow = place.reading()
    place.network.bytes["a"] = 2 * MIB
    place.look()
    place.look(10 * PATIENCE_SECONDS)
    assert slow.room == FIRST_STEP_BYTES
    assert slow.ended is None
    waiting = asyncio.ensure_future(place.budget.hold(512 * MIB, "other", LATER))
    await asyncio.sleep(0)
    place.look()
    assert slow.ended is not None
    assert (await asyncio.wait_for(waiting, 5)).size == place.budget.room * 7 // 8


async def test_who_does_not_take_an_answer_is_cut_off_once_others_wait(place):
    sending = place.slow.send("b", 20 * MIB)
    place.look(patience(20 * MIB) + 1)
    assert place.network.cut == []
    place.budget.must_hold(512 * MIB)
    waiting = asyncio.ensure_future(place.budget.hold(100 * MIB, "other", LATER))
    await asyncio.sleep(0)
    place.look()
    assert place.network.cut == ["b"]
    place.slow.sent(sending)
    waiting.cancel()


async def test_where_the_kernel_tells_nothing_nobody_is_ended(place):
    place.network.unknown = True
    reading = place.reading()
    place.network.bytes["a"] = LARGEST
    place.look()
    assert (reading.hold, reading.ended) == (None, None)


async def test_connections_that_are_gone_are_forgotten(place):
    place.slow.end(place.reading("a"), 10)
    place.look()
    del place.network.bytes["a"]
    place.look(120.0)
    assert list(place.slow) == []
