"""Rows of several callers in one call: when they go, and that no caller feels the others."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from clipserve_gateway.errors import DeadlineExceeded, InferenceFailed, ServerUnavailable
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton import batcher
from clipserve_gateway.triton.batcher import MOST_WAIT, Batcher

POISON = 99


class Tower:
    """Doubles what it gets, once it is let: that call, or all; keeps every call's rows and deadline."""

    def __init__(self) -> None:
        self.calls: list[np.ndarray] = []
        self.deadlines: list[Deadline] = []
        self.cancelled = 0
        self.ends: list[asyncio.Event] = []
        self.open = asyncio.Event()
        self.failure: Exception | None = None
        self.batcher = Batcher(self.send)
        self.batcher.most = 8

    async def send(self, rows: np.ndarray, deadline: Deadline) -> np.ndarray:
        self.calls.append(rows)
        self.deadlines.append(deadline)
        self.ends.append(asyncio.Event())
        let = [asyncio.create_task(event.wait()) for event in (self.open, self.ends[-1])]
        try:
            await asyncio.wait(let, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            for waiting in let:
                waiting.cancel()
        if self.failure:
            raise self.failure
        if (rows == POISON).any():
            raise InferenceFailed("poison")
        return rows[:, :1].astype(np.float32) * 2

    def ask(self, *numbers: int, length: int = 2, seconds: float = 1000.0) -> asyncio.Task[np.ndarray]:
        """A caller of one row for each number."""
        rows = np.repeat(np.array(numbers, np.int32)[:, None], length, axis=1)
        return asyncio.create_task(self.batcher.run(rows, Deadline.after(seconds)))

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.calls]


@pytest.fixture
async def tower() -> Tower:
    return Tower()


async def settled() -> None:
    """Once all that can run now has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def busy(tower: Tower) -> asyncio.Task[np.ndarray]:
    """A call is under way, of a tower whose calls take so long that others wait."""
    tower.batcher._usual = 100.0
    first = tower.ask(0)
    await settled()
    return first


async def test_rows_that_find_nothing_under_way_go_at_once(tower):
    await busy(tower)
    assert tower.sizes == [1]


async def test_rows_that_come_meanwhile_go_together_when_the_call_ends(tower):
    callers = [await busy(tower), tower.ask(1), tower.ask(2, 3), tower.ask(4)]
    await settled()
    assert tower.sizes == [1]
    tower.open.set()
    answers = [(await caller).ravel().tolist() for caller in callers]
    assert tower.sizes == [1, 4]
    assert answers == [[0], [2], [4, 6], [8]]


async def test_a_full_batch_does_not_wait(tower):
    await busy(tower)
    for number in range(8):
        tower.ask(number)
    await settled()
    assert tower.sizes == [1, 8]


async def test_a_callers_rows_stay_together_and_no_call_has_more_than_the_most(tower):
    callers = [await busy(tower), tower.ask(*range(5)), tower.ask(*range(6)), tower.ask(*range(2))]
    tower.open.set()
    await asyncio.gather(*callers)
    assert tower.sizes == [1, 5, 6, 2]


async def test_rows_wait_a_moment_at_most_however_long_calls_take(tower):
    await busy(tower)
    tower.ask(1)
    await asyncio.sleep(MOST_WAIT + 0.05)
    assert tower.sizes == [1, 1]


async def test_rows_go_before_the_call_ends_so_that_they_are_there_in_time(tower, monkeypatch):
    monkeypatch.setattr(batcher, "MOST_WAIT", 100.0)
    await busy(tower)
    tower.batcher._usual = 0.8
    await asyncio.sleep(0.3)
    tower.ask(1)
    await asyncio.sleep(0.1)
    assert tower.sizes == [1]
    await asyncio.sleep(0.3)
    assert tower.sizes == [1, 1], "after three quarters of the call, not of another one"


async def test_how_long_calls_take_is_learned_from_those_that_answer(tower):
    first = tower.ask(0)
    await asyncio.sleep(0.1)
    tower.ends[0].set()
    await first
    learned = tower.batcher._usual
    assert learned > 0.02
    tower.failure = ServerUnavailable("away")
    tower.open.set()
    with pytest.raises(ServerUnavailable):
        await tower.ask(1)
    tower.failure = None
    tower.open.clear()
    gone = tower.ask(2)
    await settled()
    gone.cancel()
    await settled()
    assert tower.cancelled == 1
    assert tower.batcher._usual == learned


async def test_what_ends_together_with_the_call_before_it_was_in_its_batch(tower):
    callers = [await busy(tower)]
    tower.batcher._usual = 0.0
    callers.append(tower.ask(1))
    await asyncio.sleep(0.1)
    assert tower.sizes == [1, 1]
    tower.open.set()
    await asyncio.gather(*callers)
    assert tower.batcher._usual > 0.02, "a quarter of what the first one took"


async def test_calls_that_waited_in_triton_are_learned_from_too(tower):
    callers = [await busy(tower)]
    tower.batcher._usual = 0.0
    callers.append(tower.ask(1))
    await asyncio.sleep(0.01)
    tower.batcher._usual = 100.0
    tower.ends[0].set()
    await asyncio.sleep(0.05)
    tower.ends[1].set()
    await asyncio.gather(*callers)
    assert tower.batcher._usual < 100 * (1 - batcher.FRESH) ** 2 + 1, "both calls were fast"


async def test_triton_takes_no_more_than_a_batch_holds(tower):
    tower.batcher.most = 3
    await busy(tower)
    for number in (1, 2):
        for _ in range(2):
            tower.ask(number, number)
        await settled()
    assert tower.sizes == [1, 2, 2, 2, 2]
    tower.ends[0].set()
    await settled()
    assert len(tower.batcher._working) == 1, "two more rows do not fit"


async def test_calls_that_triton_joins_occupy_one_instance(tower):
    tower.batcher.calls = tower.batcher.instances = 2
    await busy(tower)
    tower.ask(0)
    await settled()
    tower.batcher._usual = 0.0
    for number in (1, 2):
        tower.ask(number)
        await asyncio.sleep(0.01)
    assert tower.sizes == [1, 1, 1, 1], "two are worked on, two wait in Triton"
    tower.batcher._usual = 100.0
    tower.ends[0].set()
    await settled()
    tower.ask(3)
    await settled()
    assert len(tower.sizes) == 4, "both instances work: on the second call, and on the two that waited"
    tower.ends[1].set()
    await settled()
    assert len(tower.sizes) == 5


async def test_as_many_calls_as_there_should_be_go_at_once(tower):
    tower.batcher.calls = tower.batcher.instances = 2
    await busy(tower)
    tower.ask(1)
    tower.ask(2)
    await settled()
    assert tower.sizes == [1, 1]


async def test_an_instance_that_shares_cores_is_taken_by_rows_enough(tower):
    tower.batcher.instances = 2
    await busy(tower)
    tower.ask(1, 2, 3)
    await settled()
    assert tower.sizes == [1], "few rows wait for the call under way"
    tower.ask(4)
    await settled()
    assert tower.sizes == [1, 4]
    tower.ask(5, 6, 7, 8)
    await settled()
    assert tower.sizes == [1, 4], "no instance is left"
    tower.ends[1].set()
    await settled()
    assert tower.sizes == [1, 4, 4]


async def test_of_large_batches_an_eighth_is_enough(tower):
    tower.batcher.most, tower.batcher.instances = 40, 2
    await busy(tower)
    tower.ask(1, 2, 3, 4)
    await settled()
    assert tower.sizes == [1]
    tower.ask(5)
    await settled()
    assert tower.sizes == [1, 5]


async def test_few_rows_have_an_instance_that_shares_cores_once_the_call_takes_longer_than_usual(tower):
    tower.batcher.instances = 2
    await busy(tower)
    tower.batcher._usual = 0.3
    tower.ask(1)
    await settled()
    assert tower.sizes == [1]
    (work,) = tower.batcher._working.values()
    sent = tower.batcher._timer.when() - work.since
    late = 1.25 * 0.3
    assert sent == pytest.approx(late, abs=0.01), "not a little before it ends: they would not wait in Triton"
    await asyncio.sleep(0.42)
    assert tower.sizes == [1, 1]


async def test_few_rows_wait_a_second_at_most_for_calls_that_share_cores(tower, monkeypatch):
    monkeypatch.setattr(batcher, "MOST_WAIT_BESIDE", 0.05)
    tower.batcher.instances = 2
    await busy(tower)
    tower.ask(1)
    await asyncio.sleep(0.1)
    assert tower.sizes == [1, 1]


async def test_few_rows_that_have_no_time_to_wait_go_beside_the_call_under_way(tower):
    tower.batcher.instances = 2
    await busy(tower)
    tower.batcher._usual = 0.9
    tower.ask(1)
    await settled()
    tower.ask(2, seconds=0.93)
    await settled()
    assert tower.sizes == [1]
    await asyncio.sleep(0.06)
    assert tower.sizes == [1, 2]


async def test_shorter_texts_are_filled_up(tower):
    await busy(tower)
    tower.ask(1, length=2)
    tower.ask(2, length=4)
    tower.open.set()
    await settled()
    assert tower.calls[1].tolist() == [[1, 1, 0, 0], [2, 2, 2, 2]]


async def test_one_callers_deadline_is_not_the_others(tower):
    callers = [await busy(tower), tower.ask(1, seconds=0.02), tower.ask(2, seconds=10)]
    with pytest.raises(DeadlineExceeded):
        await callers[1]
    tower.open.set()
    assert (await callers[2]).tolist() == [[4]]


async def test_a_call_has_the_latest_of_its_callers_deadlines(tower):
    await busy(tower)
    tower.ask(1, seconds=5)
    late = Deadline.after(50)
    tower.ask(2, seconds=50)
    tower.ask(3, seconds=5)
    tower.open.set()
    await settled()
    assert tower.deadlines[1] >= late


async def test_who_has_gone_is_not_sent(tower):
    first, gone, other = await busy(tower), tower.ask(1), tower.ask(2)
    await settled()
    gone.cancel()
    tower.open.set()
    await asyncio.gather(first, other)
    assert [rows[:, 0].tolist() for rows in tower.calls] == [[0], [2]]


async def test_a_call_goes_on_while_anybody_waits_and_ends_with_the_last(tower):
    tower.batcher.most = 2
    await busy(tower)
    one, two = tower.ask(1), tower.ask(2)
    await settled()
    assert tower.sizes == [1, 2]
    one.cancel()
    await settled()
    assert tower.cancelled == 0
    two.cancel()
    await settled()
    assert tower.cancelled == 1


async def test_what_fails_a_batch_fails_its_own_caller_alone(tower):
    callers = [await busy(tower), tower.ask(1), tower.ask(POISON), tower.ask(2)]
    tower.open.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[2], InferenceFailed)
    assert [answers[i].tolist() for i in (0, 1, 3)] == [[[0]], [[2]], [[4]]]


@pytest.mark.parametrize("failure", [ServerUnavailable("away"), ZeroDivisionError()])
async def test_what_fails_a_call_reaches_every_caller(tower, failure):
    tower.failure = failure
    callers = [await busy(tower), tower.ask(1), tower.ask(2)]
    tower.open.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert answers == [failure] * 3
    assert tower.sizes == [1, 2]


async def test_after_a_failure_rows_go_on(tower):
    tower.failure = ServerUnavailable("away")
    tower.open.set()
    with pytest.raises(ServerUnavailable):
        await tower.ask(1)
    tower.failure = None
    assert (await tower.ask(1)).tolist() == [[2]]
