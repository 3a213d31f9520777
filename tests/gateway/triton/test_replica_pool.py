"""Which replica gets a call, and what happens to calls when a replica fails."""

from __future__ import annotations

import asyncio
import time

import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton import breaker, replica

from testing.fakes import DIM
from testing.fleet import FakeReplica, shares


async def test_calls_go_to_all_in_turn(fleet):
    assert await shares(fleet) == [5, 5]


async def test_one_with_more_under_way_gets_fewer(fleet):
    first, _ = fleet.both
    first.silent.clear()
    stuck = [asyncio.create_task(fleet.ask()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert await shares(fleet, 4) == [0, 4]
    first.silent.set()
    await asyncio.gather(*stuck)


async def test_a_call_that_a_replica_fails_goes_to_another_and_later_ones_go_there_at_once(fleet):
    first, _ = fleet.both
    first.away = True
    assert all([(await fleet.ask()).shape == (1, DIM) for _ in range(4)])
    assert await shares(fleet, 4) == [0, 4]
    first.away = False
    await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_one_broken_connection_is_mended_before_the_next_refresh(fleet):
    for fake in fleet.both:
        fake.breaks = 1
    with pytest.raises(errors.ServerUnavailable):
        await fleet.ask()
    await asyncio.sleep(0.05)
    assert await shares(fleet, 4) == [2, 2]


async def test_calls_under_way_fail_as_soon_as_their_replica_is_down(fleet):
    for fake in fleet.both:
        fake.silent.clear()
    waiting = asyncio.create_task(fleet.ask(seconds=60))
    await asyncio.sleep(0.01)
    begin = time.monotonic()
    with pytest.raises(errors.ServerUnavailable):
        await fleet.refresh(timeout=0.02)
    with pytest.raises(errors.ModelUnavailable):
        await waiting
    assert time.monotonic() - begin < 2
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()


async def test_a_replica_that_hangs_is_noticed_by_the_calls_that_wait(fleet, monkeypatch):
    monkeypatch.setattr(breaker, "STALL_SECONDS", 0.02)
    monkeypatch.setattr(replica, "STALL_CHECK_SECONDS", 0.02)
    for fake in fleet.both:
        fake.silent.clear()
    begin = time.monotonic()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(seconds=60)
    assert time.monotonic() - begin < 2


async def test_a_replica_that_is_slow_but_answers_questions_stays_in_service(fleet, monkeypatch):
    monkeypatch.setattr(breaker, "STALL_SECONDS", 0.02)
    encode, release = FakeReplica.encode, asyncio.Event()

    async def long(self, spec, tower, rows, deadline):
        await release.wait()
        return await encode(self, spec, tower, rows, deadline)

    monkeypatch.setattr(FakeReplica, "encode", long)
    waiting = asyncio.create_task(fleet.ask())
    await asyncio.sleep(0.2)
    release.set()
    assert (await waiting).shape == (1, DIM)


async def test_a_replica_that_answers_callers_is_not_down_however_late_it_is(fleet):
    first, _ = fleet.both

    async def late(timeout: float) -> dict[str, bool]:
        await fleet.ask()
        await fleet.ask()
        raise errors.DeadlineExceeded("late")

    first.repository_index = late
    for _ in range(5):
        await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_one_full_queue_sends_a_call_to_the_other(fleet):
    first, _ = fleet.both
    first.failure = errors.Overloaded("full")
    for _ in range(4):
        await fleet.ask()
    await fleet.rerun_canaries()
    assert fleet.ok(1) == 1, "a full queue says nothing of the answers"


async def test_when_both_fail_the_error_is_told(fleet):
    for fake in fleet.both:
        fake.failure = errors.InferenceFailed("CUDA error: device-side assert")
    with pytest.raises(errors.InferenceFailed, match="CUDA"):
        await fleet.ask()


async def test_the_configuration_that_most_have_is_told(fleet):
    first, _ = fleet.both
    other = FakeReplica("e" * 64)
    first.found, first.ready = other.found, other.ready
    await fleet.refresh()
    told = await fleet.pool.towers(["fake_image"], 1.0)
    assert told[0].parameters["fingerprint"] in ("e" * 64, "f" * 64)
    second = fleet.both[1]
    second.found, second.ready = other.found, other.ready
    await fleet.refresh()
    assert (await fleet.pool.towers(["fake_image"], 1.0))[0].parameters["fingerprint"] == "e" * 64


async def test_which_tritons_answer_is_told(fleet):
    def up() -> list[float | None]:
        value = fleet.metrics.registry.get_sample_value
        return [value("clipserve_triton_up", {"replica": f"127.0.0.1:{n}"}) for n in (1, 2)]

    assert up() == [1, 1]
    fleet.both[0].away = True
    await fleet.refresh()
    assert up() == [0, 1]
    fleet.both[0].away = False
    await fleet.refresh()
    assert up() == [1, 1]
    await fleet.pool.close()
    assert up() == [None, None]


async def test_all_connections_are_closed_at_the_end(fleet):
    await fleet.pool.close()
    assert all(fake.closed for fake in fleet.both)
