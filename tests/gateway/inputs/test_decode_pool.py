"""The decode pool is bounded, never blocks the loop, and starts no work of callers that have left."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import AsyncIterator

import pytest
from clipserve_gateway.errors import DeadlineExceeded, ImageUnreadable, Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.inputs import decode_pool
from clipserve_gateway.inputs.decode_pool import DecodePool
from clipserve_gateway.inputs.image_file import BoundedFile
from clipserve_gateway.metrics import Metrics


class Jobs:
    """Work that waits until it is released, and records which jobs began on which threads."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[str] = []
        self.threads: set[str] = set()

    def work(self, name: str) -> str:
        self.begun.append(name)
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        return name


@pytest.fixture
async def pool() -> AsyncIterator[DecodePool]:
    pool = DecodePool(Metrics(), 2)
    yield pool
    pool.close()


async def test_processor_time_is_counted_but_not_time_asleep() -> None:
    metrics = Metrics()
    pool = DecodePool(metrics, 1)
    await pool.run(lambda: sum(range(1_000_000)), deadline=later())
    busy = metrics.registry.get_sample_value("clipserve_decode_cpu_seconds_total") or 0.0
    await pool.run(lambda: time.sleep(0.2), deadline=later())
    pool.close()
    assert busy > 0.005
    assert (metrics.registry.get_sample_value("clipserve_decode_cpu_seconds_total") or 0.0) - busy < 0.1


def later() -> Deadline:
    return Deadline.after(10)


async def begun(jobs: Jobs, number: int) -> None:
    """Returns when this many jobs have begun."""
    for _ in range(1000):
        if len(jobs.begun) >= number:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"only {jobs.begun} have begun")


async def idle(pool: DecodePool) -> None:
    """Returns when all threads are done, including those of callers that have left."""
    for _ in range(1000):
        if pool.saturation() == 0:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(f"saturation stays at {pool.saturation()}")


async def test_work_runs_on_its_own_threads_and_no_more_than_asked_for(pool: DecodePool) -> None:
    jobs = Jobs()
    works = [functools.partial(jobs.work, str(i)) for i in range(6)]
    tasks = [asyncio.create_task(pool.run(work, deadline=later())) for work in works]
    await begun(jobs, 2)
    await asyncio.sleep(0.01)
    assert len(jobs.begun) == 2
    jobs.gate.set()
    assert await asyncio.gather(*tasks) == [str(i) for i in range(6)]
    assert len(jobs.threads) == 2
    assert all(name.startswith("decode") for name in jobs.threads)


async def test_what_the_work_raises_reaches_the_caller_and_frees_the_thread(pool: DecodePool) -> None:
    def fail() -> None:
        raise ImageUnreadable("broken")

    for _ in range(5):
        with pytest.raises(ImageUnreadable, match="broken"):
            await pool.run(fail, deadline=later())
    assert await pool.run(lambda: 7, deadline=later()) == 7
    assert pool.saturation() == 0


async def test_work_of_a_cancelled_caller_is_not_begun(pool: DecodePool) -> None:
    jobs = Jobs()
    running = [asyncio.create_task(pool.run(lambda: jobs.work("first"), deadline=later())) for _ in range(2)]
    await begun(jobs, 2)
    waiting = asyncio.create_task(pool.run(lambda: jobs.work("cancelled"), deadline=later()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    jobs.gate.set()
    await asyncio.gather(*running)
    assert await pool.run(lambda: jobs.work("last"), deadline=later()) == "last"
    assert jobs.begun == ["first", "first", "last"]


async def test_work_under_way_of_a_cancelled_caller_stops_at_its_next_read(pool: DecodePool) -> None:
    reads: list[str] = []
    go_on = threading.Event()

    def work() -> None:
        file = BoundedFile(bytes(100))
        file.read(1)
        reads.append("first")
        assert go_on.wait(10)
        try:
            file.read(1)
            reads.append("second")
        except DeadlineExceeded:
            reads.append("stopped")
            raise

    running = asyncio.create_task(pool.run(work, deadline=later()))
    while not reads:
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait({running})
    go_on.set()
    await idle(pool)
    assert reads == ["first", "stopped"]


async def test_work_under_way_stops_at_its_next_read_once_it_is_late(pool: DecodePool) -> None:
    def work() -> None:
        time.sleep(0.05)
        BoundedFile(bytes(100)).read(1)

    with pytest.raises(DeadlineExceeded, match="during decode"):
        await pool.run(work, deadline=Deadline.after(0.04))


async def test_work_that_is_late_by_its_turn_is_not_begun(pool: DecodePool) -> None:
    jobs = Jobs()
    running = [asyncio.create_task(pool.run(lambda: jobs.work("first"), deadline=later())) for _ in range(2)]
    await begun(jobs, 2)
    late = asyncio.create_task(pool.run(lambda: jobs.work("late"), deadline=Deadline.after(0.01)))
    await asyncio.sleep(0.03)
    jobs.gate.set()
    with pytest.raises(DeadlineExceeded, match="before decode"):
        await late
    await asyncio.gather(*running)
    assert "late" not in jobs.begun
    assert pool.saturation() == 0


async def test_a_thread_whose_caller_has_gone_keeps_its_place_until_it_is_done(pool: DecodePool) -> None:
    jobs = Jobs()
    running = [asyncio.create_task(pool.run(lambda: jobs.work("first"), deadline=later())) for _ in range(2)]
    await begun(jobs, 2)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert pool.saturation() > 0
    next_one = asyncio.create_task(pool.run(lambda: jobs.work("next"), deadline=later()))
    await asyncio.sleep(0.01)
    assert jobs.begun == ["first", "first"]
    jobs.gate.set()
    assert await next_one == "next"
    await idle(pool)


async def test_saturation_grows_with_what_waits_and_too_much_is_refused(
    pool: DecodePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode_pool, "QUEUED_PER_THREAD", 3)
    monkeypatch.setattr(decode_pool, "REFUSED_PER_THREAD", 5)
    jobs = Jobs()
    tasks, seen = [], [pool.saturation()]
    for _ in range(12):
        tasks.append(asyncio.create_task(pool.run(lambda: jobs.work("x"), deadline=later())))
        await asyncio.sleep(0)
        seen.append(pool.saturation())
    assert seen == [min(1.0, i / 8) for i in range(13)]
    with pytest.raises(Overloaded):
        await pool.run(lambda: jobs.work("too much"), deadline=later())
    jobs.gate.set()
    await asyncio.gather(*tasks)
    assert pool.saturation() == 0
    assert await pool.run(lambda: 1, deadline=later()) == 1


async def test_work_that_is_to_be_alone_runs_one_at_a_time_beside_other_work(pool: DecodePool) -> None:
    jobs = Jobs()

    def start(name: str, *, alone: bool) -> asyncio.Task[str]:
        return asyncio.create_task(pool.run(lambda: jobs.work(name), deadline=later(), alone=alone))

    large = [start("large", alone=True) for _ in range(3)]
    await begun(jobs, 1)
    small = start("small", alone=False)
    await begun(jobs, 2)
    await asyncio.sleep(0.01)
    assert jobs.begun == ["large", "small"]
    jobs.gate.set()
    assert await asyncio.gather(*large, small) == ["large"] * 3 + ["small"]
    await idle(pool)


async def test_work_alone_whose_caller_has_gone_lets_no_other_begin_until_it_is_done(
    pool: DecodePool,
) -> None:
    jobs = Jobs()
    first, waiting, last = (
        asyncio.create_task(pool.run(functools.partial(jobs.work, name), deadline=later(), alone=True))
        for name in ("first", "waiting", "last")
    )
    await begun(jobs, 1)
    first.cancel()
    waiting.cancel()
    await asyncio.sleep(0.01)
    assert jobs.begun == ["first"]
    assert pool.saturation() > 0
    jobs.gate.set()
    assert await last == "last"
    assert jobs.begun == ["first", "last"]
    await idle(pool)


async def test_what_was_too_late_at_its_turn_is_not_taken_for_fast_work(pool):
    jobs = Jobs()
    busy = [asyncio.create_task(pool.run(lambda: jobs.work("slow"), deadline=later())) for _ in range(2)]
    await begun(jobs, 2)
    late = [asyncio.create_task(pool.run(int, deadline=Deadline.after(0.02))) for _ in range(20)]
    await asyncio.sleep(0.1)
    jobs.gate.set()
    assert await asyncio.gather(*busy) == ["slow"] * 2
    errors = await asyncio.gather(*late, return_exceptions=True)
    assert {type(error) for error in errors} == {DeadlineExceeded}
    assert pool.gate.expected_seconds(Lane.INTERACTIVE) >= 0.09


def test_a_thread_that_outlives_the_event_loop_ends_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    jobs = Jobs()

    async def leave() -> DecodePool:
        pool = DecodePool(Metrics(), 1)
        running = asyncio.create_task(pool.run(lambda: jobs.work("left"), deadline=later()))
        await begun(jobs, 1)
        running.cancel()
        return pool

    pool = asyncio.run(leave())
    jobs.gate.set()
    pool._executor.shutdown(wait=True)
    assert not caplog.records


async def started(
    pool: DecodePool, jobs: Jobs, names: list[str], *, cost: int, lane: Lane = Lane.INTERACTIVE
) -> list[asyncio.Task[str]]:
    """A call with large images, which are decoded one at a time."""
    with in_lane(lane):
        works = [functools.partial(jobs.work, name) for name in names]
        tasks = [
            asyncio.create_task(pool.run(work, deadline=later(), alone=True, cost=cost)) for work in works
        ]
    await asyncio.sleep(0)
    return tasks


async def test_a_call_of_many_large_images_lets_another_call_have_its_turn(pool: DecodePool) -> None:
    jobs = Jobs()
    many = await started(pool, jobs, [f"many {i}" for i in range(20)], cost=64)
    one = await started(pool, jobs, ["one"], cost=64)
    await begun(jobs, 1)
    jobs.gate.set()
    await asyncio.gather(*many, *one)
    assert jobs.begun.index("one") <= 2


async def test_what_a_call_has_cost_others_make_good_first(pool: DecodePool) -> None:
    jobs = Jobs()
    dear = await started(pool, jobs, [f"dear {i}" for i in range(5)], cost=60)
    cheap = await started(pool, jobs, [f"cheap {i}" for i in range(30)], cost=2)
    await begun(jobs, 1)
    jobs.gate.set()
    await asyncio.gather(*dear, *cheap)
    assert [name for name in jobs.begun[:20] if name.startswith("dear")] == ["dear 0", "dear 1"]
    assert sorted(jobs.begun) == sorted([f"dear {i}" for i in range(5)] + [f"cheap {i}" for i in range(30)])


async def test_large_images_of_bulk_get_their_share_by_cost(pool: DecodePool) -> None:
    jobs = Jobs()
    bulk = await started(pool, jobs, ["bulk"] * 40, cost=64, lane=Lane.BULK)
    people = await started(pool, jobs, ["person"] * 40, cost=64)
    await begun(jobs, 1)
    jobs.gate.set()
    await asyncio.gather(*bulk, *people)
    assert 2 <= jobs.begun[:40].count("bulk") <= 8


async def test_a_large_image_that_waits_obeys_its_deadline(pool: DecodePool) -> None:
    jobs = Jobs()
    [first] = await started(pool, jobs, ["first"], cost=64)
    await begun(jobs, 1)
    with pytest.raises(DeadlineExceeded, match="before decode"):
        await pool.run(lambda: jobs.work("late"), deadline=Deadline.after(0.02), alone=True, cost=64)
    jobs.gate.set()
    assert await first == "first"
    await idle(pool)
    assert jobs.begun == ["first"]


async def test_a_large_image_that_would_come_too_late_is_refused_at_once(pool: DecodePool) -> None:
    jobs = Jobs()
    jobs.gate.set()

    def work() -> str:
        time.sleep(0.02)
        return jobs.work("large")

    with in_lane(Lane.INTERACTIVE):
        runs = [pool.run(work, deadline=later(), alone=True, cost=64) for _ in range(12)]
        tasks = [asyncio.create_task(run) for run in runs]
        while len(jobs.begun) < 4:
            await asyncio.sleep(0.001)
        with pytest.raises(Overloaded, match="because of waiting work"):
            await pool.run(work, deadline=Deadline.after(0.05), alone=True, cost=64)
    # Another call would run after the one in progress.
    with in_lane(Lane.INTERACTIVE):
        await pool.run(work, deadline=Deadline.after(2), alone=True, cost=64)
    await asyncio.gather(*tasks)
