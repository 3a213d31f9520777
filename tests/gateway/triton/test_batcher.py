"""Rows of several callers in one call: when calls are sent, and that no caller affects the others."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from clipserve_gateway.errors import DeadlineExceeded, InferenceFailed, ServerUnavailable
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton.batcher import Batcher

POISON = 99
PAD = 7


class Tower:
    """Doubles its rows once the test lets the call end; keeps the rows and the deadline of every call."""

    def __init__(self) -> None:
        self.calls: list[np.ndarray] = []
        self.deadlines: list[Deadline] = []
        self.ends: list[asyncio.Event] = []
        self.cancelled = asyncio.Event()
        self.failure: Exception | None = None
        self.batcher = Batcher(self.send, pad_id=PAD)
        self.batcher.max_rows = 8
        self.batcher.max_wait = 1000.0
        self._open = False
        self._begun = asyncio.Condition()

    async def send(self, rows: np.ndarray, deadline: Deadline) -> np.ndarray:
        self.calls.append(rows)
        self.deadlines.append(deadline)
        self.ends.append(asyncio.Event())
        if self._open:
            self.ends[-1].set()
        async with self._begun:
            self._begun.notify_all()
        try:
            await self.ends[-1].wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.failure:
            raise self.failure
        if (rows == POISON).any():
            raise InferenceFailed("poison")
        return rows[:, :1].astype(np.float32) * 2

    def ask(self, *numbers: int, length: int = 2, seconds: float = 1000.0) -> asyncio.Task[np.ndarray]:
        """A caller of one row for each number."""
        rows = np.repeat(np.array(numbers, np.int32)[:, None], length, axis=1)
        return asyncio.create_task(self.batcher.run(rows, Deadline.after(seconds)))

    def open(self) -> None:
        """Lets all calls end, those to come too."""
        self._open = True
        for end in self.ends:
            end.set()

    async def begun(self, calls: int) -> list[int]:
        """Waits until so many calls have begun; the rows of each call."""
        async with self._begun:
            await asyncio.wait_for(self._begun.wait_for(lambda: len(self.calls) >= calls), 10)
        return self.sizes

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.calls]


@pytest.fixture
async def tower() -> Tower:
    return Tower()


async def busy(tower: Tower) -> asyncio.Task[np.ndarray]:
    """A call of one row is under way, and the tower has no room for another call."""
    first = tower.ask(0)
    await tower.begun(1)
    return first


async def test_rows_are_sent_at_once_while_the_tower_has_room(tower):
    tower.batcher.max_calls = 3
    for number in range(3):
        tower.ask(number)
        await tower.begun(number + 1)
    assert tower.sizes == [1, 1, 1]


async def test_rows_that_wait_are_sent_together_when_a_call_ends(tower):
    callers = [await busy(tower), tower.ask(1), tower.ask(2, 3), tower.ask(4)]
    tower.ends[0].set()
    assert await tower.begun(2) == [1, 4]
    tower.open()
    answers = [(await caller).ravel().tolist() for caller in callers]
    assert answers == [[0], [2], [4, 6], [8]]


async def test_each_call_that_ends_makes_room_for_one_call(tower):
    tower.batcher.max_calls = 2
    callers = [await busy(tower), tower.ask(1)]
    await tower.begun(2)
    callers += [tower.ask(2), tower.ask(3)]
    tower.ends[1].set()
    assert await tower.begun(3) == [1, 1, 2]
    callers.append(tower.ask(4))
    tower.open()
    await asyncio.gather(*callers)
    assert tower.sizes == [1, 1, 2, 1]


async def test_rows_that_fill_a_call_do_not_wait(tower):
    await busy(tower)
    for number in range(8):
        tower.ask(number)
    assert await tower.begun(2) == [1, 8]


async def test_rows_wait_no_longer_than_the_maximum_for_a_call_to_end(tower):
    tower.batcher.max_wait = 0.01
    await busy(tower)
    tower.ask(1)
    tower.ask(2)
    assert await tower.begun(2) == [1, 2]


async def test_behind_a_call_wait_no_more_rows_than_the_next_batch_holds(tower):
    tower.batcher.max_wait = 0.01
    tower.batcher.max_rows = 3
    await busy(tower)
    tower.ask(1)
    assert await tower.begun(2) == [1, 1]
    tower.ask(2, 3)
    assert await tower.begun(3) == [1, 1, 2]
    late = tower.ask(4)
    # Long after `max_wait`, only more rows, which fill a call, or the end of a call let them go.
    await asyncio.sleep(3 * tower.batcher.max_wait)
    assert tower.sizes == [1, 1, 2]
    tower.ends[0].set()
    assert await tower.begun(4) == [1, 1, 2, 1]
    assert not late.done()


async def test_a_callers_rows_stay_together_and_no_call_exceeds_the_maximum(tower):
    callers = [await busy(tower), tower.ask(*range(5)), tower.ask(*range(6)), tower.ask(*range(2))]
    tower.open()
    await asyncio.gather(*callers)
    assert tower.sizes == [1, 5, 8]


async def test_a_caller_that_left_leaves_no_gap(tower):
    callers = [await busy(tower)]
    gone = tower.ask(*range(7))
    callers.append(tower.ask(1))
    assert await tower.begun(2) == [1, 8]
    callers += [tower.ask(2), tower.ask(*range(6))]
    gone.cancel()
    tower.open()
    await asyncio.gather(*callers)
    assert tower.sizes == [1, 8, 7]


async def test_shorter_texts_are_padded(tower):
    callers = [await busy(tower), tower.ask(1, length=2), tower.ask(2, length=4)]
    tower.open()
    await asyncio.gather(*callers)
    assert tower.calls[1].tolist() == [[1, 1, PAD, PAD], [2, 2, 2, 2]]


async def test_a_call_has_the_latest_of_its_callers_deadlines(tower):
    callers = [await busy(tower), tower.ask(1, seconds=5)]
    late = Deadline.after(50)
    callers += [tower.ask(2, seconds=50), tower.ask(3, seconds=5)]
    tower.open()
    await asyncio.gather(*callers)
    assert tower.deadlines[1] >= late


async def test_rows_whose_deadline_has_passed_are_not_sent_and_other_rows_are(tower):
    first, gone, other = await busy(tower), tower.ask(1, seconds=0.02), tower.ask(2)
    with pytest.raises(DeadlineExceeded):
        await gone
    tower.open()
    assert (await other).tolist() == [[4]]
    await first
    assert [rows[:, 0].tolist() for rows in tower.calls] == [[0], [2]]


async def test_a_call_continues_while_a_caller_waits_and_is_cancelled_with_the_last(tower):
    tower.batcher.max_rows = 2
    await busy(tower)
    one, two = tower.ask(1), tower.ask(2)
    assert await tower.begun(2) == [1, 2]
    one.cancel()
    await asyncio.wait([one])
    assert not tower.cancelled.is_set()
    two.cancel()
    await asyncio.wait_for(tower.cancelled.wait(), 10)


async def test_a_cancelled_call_makes_room(tower):
    first = await busy(tower)
    second = tower.ask(1)
    first.cancel()
    assert await tower.begun(2) == [1, 1]
    tower.open()
    assert (await second).tolist() == [[2]]


async def test_input_that_fails_a_batch_fails_only_its_own_caller(tower):
    callers = [await busy(tower), tower.ask(1), tower.ask(POISON), tower.ask(2)]
    tower.open()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[2], InferenceFailed)
    assert [answers[i].tolist() for i in (0, 1, 3)] == [[[0]], [[2]], [[4]]]


@pytest.mark.parametrize("failure", [ServerUnavailable("away"), ZeroDivisionError()])
async def test_other_failures_reach_every_caller_of_the_call(tower, failure):
    tower.failure = failure
    callers = [await busy(tower), tower.ask(1), tower.ask(2)]
    tower.open()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert answers == [failure] * 3
    assert tower.sizes == [1, 2]


async def test_after_a_failure_rows_are_sent_again(tower):
    tower.failure = ServerUnavailable("away")
    tower.open()
    with pytest.raises(ServerUnavailable):
        await tower.ask(1)
    tower.failure = None
    assert (await tower.ask(1)).tolist() == [[2]]
