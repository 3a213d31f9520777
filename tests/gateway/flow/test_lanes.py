"""The gate: bounded, fair between lanes, and able to tell what would come too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from clipserve_gateway.errors import DeadlineExceeded, Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import BulkRoom, FairQueue, Lane, current_lane, in_lane
from hypothesis import given
from hypothesis import strategies as st

BULK, INTERACTIVE = Lane.BULK, Lane.INTERACTIVE


class Line:
    """Work that passes a gate and stays inside until it is let go."""

    def __init__(self, gate: FairQueue) -> None:
        self.gate = gate
        self.inside: list[tuple[Lane, asyncio.Event]] = []
        self.passed: list[Lane] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.seconds = 1e6
        """That each has."""

    async def queue(self, lane: Lane, number: int, units: int = 1) -> None:
        with in_lane(lane):
            self.tasks += [asyncio.create_task(self._work(units)) for _ in range(number)]
        await asyncio.sleep(0)

    async def _work(self, units: int) -> None:
        async with self.gate.slot(units, Deadline.after(self.seconds)):
            done = asyncio.Event()
            self.passed.append(current_lane())
            self.inside.append((current_lane(), done))
            await done.wait()

    async def let_go(self, number: int) -> None:
        for _ in range(number):
            self.inside.pop(0)[1].set()
            await self.settle()

    async def settle(self) -> None:
        """Lets everybody do what they can do now."""
        for _ in range(4):
            await asyncio.sleep(0)


@pytest.fixture
def line() -> Line:
    return Line(FairQueue(2, bulk_share=0.1))


async def test_no_more_than_the_room_is_inside(line):
    await line.queue(INTERACTIVE, 5)
    assert (line.gate.inside, line.gate.waiting) == (2, 3)
    await line.let_go(1)
    assert (line.gate.inside, line.gate.waiting) == (2, 2)
    await line.let_go(4)
    assert (line.gate.inside, line.gate.waiting) == (0, 0)


async def test_while_both_wait_bulk_gets_its_share_and_no_more(line):
    await line.queue(INTERACTIVE, 2)
    await line.queue(BULK, 100)
    await line.queue(INTERACTIVE, 200)
    await line.let_go(100)
    shares = line.passed[2:].count(BULK)
    assert 8 <= shares <= 12


async def test_bulk_keeps_to_its_own_room_and_others_pass_beside_it(line):
    line.gate.room, line.gate.bulk_room = 6, BulkRoom(rows=1, units=2, visits=9)
    await line.queue(BULK, 5)
    assert (line.gate.inside, line.gate.waiting) == (2, 3)
    await line.queue(INTERACTIVE, 2)
    assert (line.gate.inside, line.gate.waiting) == (4, 3)
    await line.let_go(1)
    assert line.passed == [BULK] * 2 + [INTERACTIVE] * 2 + [BULK]
    line.gate.bulk_room = None
    await line.let_go(1)
    assert (line.gate.inside, line.gate.waiting) == (5, 0)


@pytest.mark.parametrize("room", [BulkRoom(2, units=2, visits=9), BulkRoom(2, units=99, visits=1)])
async def test_bulk_work_larger_than_its_room_goes_one_by_one(line, room):
    line.gate.room, line.gate.bulk_room = 20, room
    await line.queue(BULK, 2, units=8)
    assert line.gate.inside == 8
    await line.let_go(1)
    assert line.gate.inside == 8


@pytest.mark.parametrize("room", [1, 4])
async def test_where_both_wait_bulk_has_its_share_whatever_its_room(line, room):
    line.gate.room, line.gate.bulk_room = 4, BulkRoom(1, room, room)
    await line.queue(INTERACTIVE, 4)
    await line.queue(BULK, 100)
    await line.queue(INTERACTIVE, 200)
    await line.let_go(100)
    assert 8 <= line.passed[4:].count(BULK) <= 12


async def test_either_lane_has_all_of_it_alone(line):
    await line.queue(BULK, 10)
    await line.let_go(10)
    await line.queue(INTERACTIVE, 10)
    await line.let_go(10)
    assert line.passed == [BULK] * 10 + [INTERACTIVE] * 10


async def test_a_lane_that_had_nothing_to_do_saves_up_no_claim(line):
    await line.queue(INTERACTIVE, 200)
    await line.let_go(150)
    await line.queue(BULK, 50)
    await line.let_go(40)
    assert line.passed[152:].count(BULK) <= 6


async def test_work_larger_than_the_room_goes_alone(line):
    await line.queue(INTERACTIVE, 1)
    await line.queue(INTERACTIVE, 1, units=50)
    assert line.gate.inside == 1
    await line.let_go(1)
    assert line.gate.inside == 50
    await line.queue(INTERACTIVE, 1)
    assert line.gate.inside == 50
    await line.let_go(1)
    assert line.gate.inside == 1


async def test_who_gives_up_while_waiting_lets_the_next_one_pass(line):
    await line.queue(INTERACTIVE, 2)
    await line.queue(INTERACTIVE, 1, units=2)
    await line.queue(INTERACTIVE, 1)
    await line.let_go(1)
    assert line.gate.inside == 1
    line.tasks[2].cancel()
    await asyncio.sleep(0.001)
    assert (line.gate.inside, line.gate.waiting) == (2, 0)


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_back(line):
    await line.queue(INTERACTIVE, 3)
    line.inside.pop(0)[1].set()
    # One step: the first leaves and the third gets its turn, but has not run yet.
    await asyncio.sleep(0)
    line.tasks[2].cancel()
    await asyncio.sleep(0.001)
    assert (line.gate.inside, line.gate.waiting) == (1, 0)


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Stands still until a test moves it."""
    clock = SimpleNamespace(now=0.0)
    for module in ("lanes", "deadline"):
        monkeypatch.setattr(f"clipserve_gateway.flow.{module}.time.monotonic", lambda: clock.now)
    return clock


async def test_work_that_would_come_too_late_is_refused_with_the_time_to_wait(clock):
    gate = FairQueue(1, bulk_share=0.1)
    gate.check(INTERACTIVE, 1, Deadline.after(0.01))
    line = Line(gate)
    await line.queue(INTERACTIVE, 31)
    for _ in range(20):
        clock.now += 0.5
        await line.let_go(1)
    # Ten wait, each takes half a second.
    assert gate.expected_seconds(INTERACTIVE) == pytest.approx(0.5 * 11 + 0.5)
    gate.check(INTERACTIVE, 1, Deadline.after(8))
    with pytest.raises(Overloaded) as refused:
        gate.check(INTERACTIVE, 1, Deadline.after(3))
    assert refused.value.retry_after == pytest.approx(1.25 * 6 - 3)
    assert gate.expected_seconds(BULK) == pytest.approx(0.5 * 1 / 0.1 + 0.5)


async def batches_of_eight(line: Line, clock: SimpleNamespace) -> AsyncIterator[None]:
    """Twenty batches, each 0.32 s after the one before; a pause after each."""
    for _ in range(20):
        clock.now += 0.32
        await line.let_go(8)
        yield


async def test_the_pace_is_that_of_batches_not_of_their_last_items(clock):
    """Eight come back in one moment, and then for a while nobody."""
    gate = FairQueue(24, bulk_share=0.1)
    line = Line(gate)
    await line.queue(INTERACTIVE, 200)
    async for _ in batches_of_eight(line, clock):
        pass
    waiting = gate.waiting
    assert gate.expected_seconds(INTERACTIVE) == pytest.approx(0.04 * (waiting + 1) + 0.96, rel=0.15)


async def test_the_pace_is_known_where_few_wait_and_only_now_and_then(clock):
    """Callers who come again once they are answered: with the last of a batch, the line is empty."""
    gate = FairQueue(24, bulk_share=0.1)
    line = Line(gate)
    await line.queue(INTERACTIVE, 32)
    async for _ in batches_of_eight(line, clock):
        assert gate.waiting == 0
        await line.queue(INTERACTIVE, 8)
    assert gate.expected_seconds(INTERACTIVE, 100) == pytest.approx(0.04 * 108 + 0.96, rel=0.15)


async def test_what_fails_or_is_given_up_does_not_count_as_done(clock):
    line = Line(FairQueue(1, bulk_share=0.1))
    await line.queue(INTERACTIVE, 40)
    for _ in range(10):
        clock.now += 0.5
        await line.let_go(1)
    expected = line.gate.expected_seconds(INTERACTIVE)
    for task in line.tasks[20:30]:
        task.cancel()
    await line.settle()
    assert line.gate.expected_seconds(INTERACTIVE) == pytest.approx(expected - 10 * 0.5)


async def test_work_whose_time_is_nearly_over_by_its_turn_is_not_begun(clock):
    line = Line(FairQueue(1, bulk_share=0.1))
    await line.queue(INTERACTIVE, 3)
    for _ in range(2):
        clock.now += 2.0
        await line.let_go(1)
    line.seconds = 2.1
    await line.queue(INTERACTIVE, 1)
    clock.now += 1.5
    await line.let_go(1)
    with pytest.raises(DeadlineExceeded):
        await line.tasks[-1]
    assert (line.gate.inside, line.gate.waiting) == (0, 0)


async def test_one_long_pause_is_not_taken_for_the_pace(clock):
    line = Line(FairQueue(1, bulk_share=0.1))
    await line.queue(INTERACTIVE, 40)
    for pause in [0.01] * 20 + [60.0]:
        clock.now += pause
        await line.let_go(1)
    assert line.gate.expected_seconds(INTERACTIVE) < 10


async def test_a_stream_may_be_closed_in_another_context_than_it_was_begun_in():
    async def stream():
        with in_lane(BULK):
            yield current_lane()

    begun = stream()
    assert await anext(begun) is BULK
    await asyncio.create_task(begun.aclose())


@given(
    st.lists(
        st.tuples(st.sampled_from(["queue", "go", "cancel"]), st.sampled_from(list(Lane)), st.integers(1, 4)),
        max_size=40,
    ),
    st.sampled_from([None, BulkRoom(1, 1, 1), BulkRoom(2, 2, 2)]),
)
def test_whatever_happens_everybody_passes_or_gives_up_in_the_end(steps, bulk_room):
    async def run() -> None:
        line = Line(FairQueue(3, bulk_share=0.1))
        line.gate.bulk_room = bulk_room
        for step, lane, number in steps:
            if step == "queue":
                await line.queue(lane, 1, number)
            elif step == "go" and line.inside:
                await line.let_go(1)
            elif step == "cancel" and line.tasks:
                line.tasks[-number % len(line.tasks)].cancel()
                await asyncio.sleep(0)
            assert line.gate.inside <= 4
        while not all(task.done() for task in line.tasks):
            for _, done in line.inside:
                done.set()
            await asyncio.sleep(0)
        assert (line.gate.inside, line.gate.waiting) == (0, 0)

    asyncio.run(run())
