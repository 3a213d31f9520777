"""Replicas that come and go as the names lead to other addresses."""

from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway import errors
from clipserve_gateway.triton import replica_pool

from testing.fakes import DIM
from testing.fleet import FakeReplica, Fleet, shares


def named(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """From now on the names lead to these addresses."""

    async def found() -> list[str]:
        return list(addresses)

    monkeypatch.setattr(fleet.pool._resolver, "addresses", found)
    monkeypatch.setattr(replica_pool, "NAMES_SECONDS", 0.0)


async def test_a_replica_that_leaves_the_names_finishes_its_calls(fleet, monkeypatch):
    first, _ = fleet.both
    first.silent.clear()
    waiting = asyncio.gather(fleet.ask(), fleet.ask())
    await asyncio.sleep(0.01)

    named(fleet, monkeypatch, "127.0.0.1:2")
    await fleet.refresh()
    assert await shares(fleet, 1) == [0, 1]
    assert not first.closed
    first.silent.set()
    assert [answer.shape for answer in await waiting] == [(1, DIM)] * 2
    await asyncio.sleep(0.01)
    assert first.closed
    assert fleet.ok(1) is None


async def test_names_are_looked_up_rarely_while_all_replicas_answer(monkeypatch):
    fleet = Fleet()
    looks = 0

    async def found() -> list[str]:
        nonlocal looks
        looks += 1
        return ["127.0.0.1:1"]

    monkeypatch.setattr(fleet.pool._resolver, "addresses", found)
    for _ in range(3):
        await fleet.refresh()
    assert looks == 1
    fleet.fakes["127.0.0.1:1"].away = True
    for _ in range(3):
        with pytest.raises(errors.ServerUnavailable):
            await fleet.refresh()
    assert looks == 3, "the first look was made while it was still up"
    monkeypatch.setattr(replica_pool, "NAMES_SECONDS", 0.0)
    fleet.fakes["127.0.0.1:1"].away = False
    await fleet.refresh()
    await fleet.refresh()
    assert looks == 5
    await fleet.pool.close()


async def test_the_last_replica_serves_on_until_the_next_one_answers_right(monkeypatch):
    fleet = Fleet()
    named(fleet, monkeypatch, "127.0.0.1:1")
    await fleet.refresh()
    fleet.fakes["127.0.0.1:2"] = second = FakeReplica()
    second.silent.clear()
    named(fleet, monkeypatch, "127.0.0.1:2")
    await fleet.refresh(timeout=0.05)
    assert (await fleet.ask()).shape == (1, DIM), "the new one has not answered yet"
    first = fleet.fakes["127.0.0.1:1"]
    assert not first.closed
    second.silent.set()
    await fleet.rerun_canaries()
    await fleet.refresh()
    assert await shares(fleet, 2) == [0, 2]
    await asyncio.sleep(0.01)
    assert first.closed
    await fleet.pool.close()


async def test_one_that_left_the_names_and_ended_is_not_waited_for(monkeypatch):
    fleet = Fleet()
    named(fleet, monkeypatch, "127.0.0.1:1")
    await fleet.refresh()
    fleet.fakes["127.0.0.1:2"] = FakeReplica()
    fleet.both[1].silent.clear()
    named(fleet, monkeypatch, "127.0.0.1:2")
    fleet.both[0].away = True
    for _ in range(2):
        with pytest.raises(errors.ServerUnavailable):
            await fleet.refresh(timeout=0.05)
    await asyncio.sleep(0.01)
    assert fleet.both[0].closed
    await fleet.pool.close()
