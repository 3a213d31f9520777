"""How rows for a tower are sent to replicas: joined, cut, and in turns with bulk work."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane

from testing.fakes import DIM
from testing.fleet import PICTURE, Fleet


async def test_rows_of_several_callers_go_in_one_call_and_each_gets_its_own(fleet):
    for fake in fleet.both:
        fake.silent.clear()
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, PICTURE.shape, np.uint8) for _ in range(12)]
    before = sum(fake.calls for fake in fleet.both)
    deadline = Deadline.after(5)
    asking = [asyncio.create_task(fleet.pool.encode(fleet.spec, "image", it, deadline)) for it in pictures]
    await asyncio.sleep(0.01)
    for fake in fleet.both:
        fake.silent.set()
    answers = await asyncio.gather(*asking)
    # One call a replica; then four pictures are a batch, and four again, and two that wait for a call's end.
    assert sum(fake.calls for fake in fleet.both) - before == 5
    for picture, answer in zip(pictures, answers, strict=True):
        alone = await fleet.pool.encode(fleet.spec, "image", picture, deadline)
        np.testing.assert_array_equal(answer, alone)
    [rows] = [
        sample.value
        for metric in fleet.metrics.encode_rows.collect()
        for sample in metric.samples
        if sample.name.endswith("_sum") and sample.labels == {"tower": "image", "model": "fake"}
    ]
    assert rows == 24


async def test_each_instance_of_a_tower_in_service_has_a_call_before_rows_wait(fleet):
    first, second = fleet.both
    first.found["fake_image"] = dataclasses.replace(first.found["fake_image"], instances=3)
    await fleet.refresh()
    _, images = fleet.pool._queue_and_batcher(fleet.spec, "image")
    assert images.max_calls == 3 + 1
    second.wrong.add("fake")
    await fleet.rerun_canaries()
    _, images = fleet.pool._queue_and_batcher(fleet.spec, "image")
    assert images.max_calls == 3


async def bulk_sizes(fleet: Fleet, rows: int) -> list[int]:
    """Rows of each call that so many rows of bulk work go in, of which as many as may be are under way."""
    sizes: list[int] = []
    under_way: list[asyncio.Event] = []

    async def send(spec, tower, batch, deadline):
        sizes.append(len(batch))
        under_way.append(asyncio.Event())
        await under_way[-1].wait()
        return np.zeros((len(batch), DIM), np.float32)

    real, fleet.pool._call = fleet.pool._call, send
    fleet.pool._batchers.clear()
    batch = np.repeat(PICTURE, rows, axis=0)
    deadline = Deadline.after(5)
    with in_lane(Lane.BULK):
        asking = [
            asyncio.create_task(fleet.pool.encode(fleet.spec, "image", part, deadline))
            for part in np.split(batch, rows // 2)
        ]
    await asyncio.sleep(0.12)
    first = len(under_way)
    while not all(task.done() for task in asking):
        for event in under_way:
            event.set()
        await asyncio.sleep(0)
    assert sum(sizes) == rows
    fleet.pool._call = real
    fleet.pool._batchers.clear()
    return sizes[:first]


async def test_bulk_alone_has_one_call_at_each_instance_and_fewer_beside_interactive_work(fleet):
    for fake, instances in zip(fleet.both, (2, 1), strict=True):
        fake.found["fake_image"] = dataclasses.replace(
            fake.found["fake_image"], instances=instances, bulk_batch=2
        )
    await fleet.refresh()
    # Four pictures are a batch.
    assert sum(await bulk_sizes(fleet, 32)) == (2 + 1) * 4
    await fleet.ask()
    assert await bulk_sizes(fleet, 32) == [2, 2]


async def test_a_batch_of_bulk_work_is_cut_where_its_calls_are_small(fleet):
    for fake in fleet.both:
        fake.found["fake_image"] = dataclasses.replace(fake.found["fake_image"], bulk_batch=1)
    await fleet.refresh()
    pictures = np.random.default_rng(0).integers(0, 255, (4, *PICTURE.shape[1:]), np.uint8)
    whole = await fleet.pool.encode(fleet.spec, "image", pictures, Deadline.after(5))
    before = sum(fake.calls for fake in fleet.both)
    with in_lane(Lane.BULK):
        cut = await fleet.pool.encode(fleet.spec, "image", pictures, Deadline.after(5))
    np.testing.assert_array_equal(cut, whole)
    assert sum(fake.calls for fake in fleet.both) - before == 4


async def test_interactive_work_passes_bulk_that_waits(fleet):
    for fake in fleet.both:
        fake.found["fake_image"] = dataclasses.replace(fake.found["fake_image"], bulk_batch=2)
    await fleet.refresh()
    for fake in fleet.both:
        fake.silent.clear()
    with in_lane(Lane.BULK):
        jobs = [asyncio.create_task(fleet.ask()) for _ in range(50)]
    await asyncio.sleep(0.01)
    gate, _ = fleet.pool._queue_and_batcher(fleet.spec, "image")
    assert (gate.inside, gate.waiting) == (8, 42), "a batch for each replica"
    person = asyncio.create_task(fleet.ask())
    await asyncio.sleep(0.01)
    assert (gate.inside, gate.waiting) == (9, 42)
    for fake in fleet.both:
        fake.silent.set()
    await asyncio.gather(person, *jobs)
