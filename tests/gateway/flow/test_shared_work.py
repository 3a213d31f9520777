"""Equal inputs under way are computed once, and callers that leave harm nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from clipserve_gateway.errors import DeadlineExceeded, ModelUnavailable, Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.shared_work import LatestDeadline, SharedWork


class Work:
    """Computes when it is let go, and remembers what."""

    def __init__(self) -> None:
        self.shared_items = 0
        self.shared: SharedWork[str] = SharedWork(self.count_shared)
        self.go = asyncio.Event()
        self.begun: list[list[str]] = []
        self.cancelled = 0
        self.error: Exception | None = None

    def count_shared(self, items: int) -> None:
        self.shared_items += items

    def ask(self, keys: Sequence[str], seconds: float = 5.0) -> asyncio.Task[list[str]]:
        async def compute(new: list[int], latest: LatestDeadline) -> list[str]:
            mine, error = [keys[i] for i in new], self.error
            self.begun.append(mine)
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            if error:
                raise error
            return [key.upper() for key in mine]

        return asyncio.create_task(self.shared.run(keys, Deadline.after(seconds), compute))


@pytest.fixture
async def work() -> Work:
    return Work()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_key_is_computed_once_and_all_get_theirs_in_order(work):
    asking = [work.ask("aba"), work.ask("bc"), work.ask("c")]
    await settle()
    work.go.set()
    assert await asyncio.gather(*asking) == [["A", "B", "A"], ["B", "C"], ["C"]]
    assert work.begun == [["a", "b"], ["c"]]
    assert work.shared_items == 2


async def test_what_is_done_is_not_kept(work):
    work.go.set()
    await work.ask("a")
    await work.ask("a")
    assert work.begun == [["a"], ["a"]]


async def test_one_who_leaves_does_not_take_it_from_the_others(work):
    first, second = work.ask("a"), work.ask("a")
    await settle()
    first.cancel()
    await settle()
    work.go.set()
    assert await second == ["A"]
    assert work.cancelled == 0


async def test_when_the_last_one_has_left_the_work_is_cancelled_and_forgotten(work):
    first, second = work.ask("a"), work.ask("ab")
    await settle()
    for asking in (first, second):
        asking.cancel()
        await settle()
    assert work.cancelled == 2
    work.go.set()
    assert await work.ask("a") == ["A"]


async def test_each_waits_no_longer_than_its_own_deadline(work):
    patient = work.ask("a")
    await settle()
    with pytest.raises(DeadlineExceeded):
        await work.ask("a", seconds=0.01)
    work.go.set()
    assert await patient == ["A"]


@pytest.mark.parametrize(
    "late",
    [DeadlineExceeded("late"), Overloaded("too late", metadata={"limit": "deadline"}, retry_after=1.0)],
)
async def test_who_has_more_time_computes_again_what_anothers_deadline_cut_off(work, late):
    work.error = late
    hasty = work.ask("a", seconds=5)
    await settle()
    patient = work.ask("a", seconds=5)
    await settle()
    work.error = None
    work.go.set()
    with pytest.raises(type(late)):
        await hasty
    assert await patient == ["A"]
    assert work.begun == [["a"], ["a"]]


async def test_a_failure_is_everybodys(work):
    work.error = ModelUnavailable("gone")
    first, second = work.ask("a"), work.ask("a")
    await settle()
    work.go.set()
    for asking in (first, second):
        with pytest.raises(ModelUnavailable):
            await asking


async def test_a_computation_knows_the_latest_deadline_of_its_callers():
    shared: SharedWork[Deadline] = SharedWork()
    go = asyncio.Event()

    async def compute(latest: LatestDeadline) -> Deadline:
        await go.wait()
        return latest()

    early, late = Deadline.after(5), Deadline.after(50)
    asking = [asyncio.create_task(shared.run_one("a", one, compute)) for one in (early, late, early)]
    await settle()
    go.set()
    assert await asyncio.gather(*asking) == [late] * 3


async def test_a_deadline_that_has_passed_is_reported_at_once(work):
    with pytest.raises(DeadlineExceeded):
        await work.ask("a", seconds=-1)
