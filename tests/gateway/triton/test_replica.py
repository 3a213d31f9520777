"""The canaries of replicas: which results take a model out of service, and bring it back."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from types import SimpleNamespace

import pytest
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton import canary, replica, watched_model
from clipserve_gateway.triton.canary import Outcome

from testing.fleet import FakeReplica, Fleet, shares


async def test_a_replica_gets_no_calls_before_its_canary_was_right():
    fleet = Fleet()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()


async def test_wrong_answers_take_a_replica_out_and_right_ones_take_it_back(fleet, caplog):
    first, _ = fleet.both
    first.wrong = {"fake"}
    index = await fleet.rerun_canaries()
    assert index["fake_image"], "the other one serves"
    assert [fleet.ok(1), fleet.ok(2)] == [0, 1]
    assert "cosine" in caplog.text
    assert await shares(fleet) == [0, 10]
    first.wrong = set()
    await fleet.refresh()
    assert await shares(fleet) == [5, 5]


async def test_a_wrong_model_leaves_the_others_of_its_replica_in_service(fleet):
    for fake in fleet.both:
        fake.wrong = {"fake"}
    index = await fleet.rerun_canaries()
    assert not index["fake_image"]
    assert index["other_image"]
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask()
    await fleet.ask(dataclasses.replace(fleet.spec, name="other", fingerprint="0" * 64))


async def test_a_model_that_answers_nobody_is_taken_out(monkeypatch, fleet):
    first, _ = fleet.both

    async def never(spec, tower, rows, deadline):
        await asyncio.sleep(max(0.0, deadline.remaining()))
        raise errors.DeadlineExceeded("late")

    first.encode = never
    monkeypatch.setattr(replica, "Deadline", SimpleNamespace(after=lambda _: Deadline.after(0.02)))
    for _ in range(3):
        await fleet.rerun_canaries()
        await asyncio.sleep(0.03)
    assert fleet.ok(1) == 0


async def test_a_slow_model_is_asked_less_often_but_not_while_its_callers_get_no_answer(monkeypatch):
    for module in (canary, watched_model):
        monkeypatch.setattr(module, "PAUSE_SECONDS", 0.05)
    fleet = Fleet(canary_seconds=None)
    first, works, asked = fleet.connect("127.0.0.1:1"), asyncio.Event(), []
    encode = first.encode

    async def slow(spec, tower, rows, deadline):
        if tower == "image":
            asked.append(spec.name)
            await asyncio.sleep(0.02)
            await works.wait()
        return await encode(spec, tower, rows, deadline)

    first.encode = slow
    works.set()
    await fleet.refresh()
    await fleet.rerun_canaries()
    assert asked.count("fake") == 1, "it may take a hundredth of the time, two seconds"
    works.clear()
    waiting = [asyncio.create_task(fleet.ask()) for _ in range(2)]
    await fleet.rerun_canaries()
    works.set()
    await asyncio.gather(*waiting)
    assert asked.count("fake") == 3, "one of two calls, and the canary"
    await fleet.pool.close()


async def test_only_a_recent_right_result_of_the_same_model_and_replica_is_reused(fleet):
    first, _ = fleet.both
    here, spec = "127.0.0.1:1", fleet.spec
    assert fleet.pool.reusable_result(here, spec).outcome is Outcome.RIGHT
    assert fleet.pool.reusable_result("127.0.0.1:3", spec) is None, "nobody is there"
    assert fleet.pool.reusable_result(here, dataclasses.replace(spec, fingerprint="e" * 64)) is None, (
        "another model"
    )
    first.wrong.add("fake")
    await fleet.rerun_canaries()
    assert fleet.pool.reusable_result(here, spec) is None, "it is wrong now"
    first.wrong.clear()
    await fleet.rerun_canaries()
    assert fleet.pool.reusable_result(here, spec)
    first.away = True
    await fleet.refresh()
    assert fleet.pool.reusable_result(here, spec) is None, "it is away"


async def test_a_canary_that_waits_behind_others_batches_says_nothing(monkeypatch, fleet):
    """On slow cores a batch takes longer than a canary run may."""
    first, _ = fleet.both
    monkeypatch.setattr(replica, "Deadline", SimpleNamespace(after=lambda _: Deadline.after(0.02)))
    await fleet.ask()
    await fleet.ask()
    first.silent.clear()
    waiting = asyncio.gather(fleet.ask(), fleet.ask())
    for _ in range(3):
        await fleet.rerun_canaries()
    assert fleet.ok(1) == 1
    first.silent.set()
    await waiting


async def test_a_slow_canary_does_not_hold_up_the_others(fleet):
    first, _ = fleet.both
    encode = first.encode

    async def slow(spec, tower, rows, deadline):
        await asyncio.sleep(30)
        return await encode(spec, tower, rows, deadline)

    first.encode = slow
    await asyncio.sleep(0.06)
    begin = time.monotonic()
    for _ in range(3):
        await fleet.refresh(timeout=1.0)
    assert time.monotonic() - begin < 0.9


async def test_another_model_under_the_same_name_is_not_asked(fleet):
    first, _ = fleet.both
    other = FakeReplica("e" * 64)
    first.found, first.ready = other.found, other.ready
    await fleet.refresh()
    assert await shares(fleet) == [0, 10]


async def test_another_model_under_the_same_name_must_be_right_before_it_is_in_service():
    fleet = Fleet(canary_seconds=None)
    await fleet.refresh()
    for fake in fleet.both:
        fake.found, fake.wrong = FakeReplica("e" * 64).found, {"fake"}
    await fleet.refresh()
    with pytest.raises(errors.ModelUnavailable):
        await fleet.ask(dataclasses.replace(fleet.spec, fingerprint="e" * 64))
    await fleet.pool.close()
