"""Switches and rollbacks: no write is lost, no read sees an older state, dropped points are accepted."""

from __future__ import annotations

import asyncio
import dataclasses
import functools

import pytest
from clipserve_gateway.collection import migration_switchover as switchover_module
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import MigrationState, Phase, Switchover
from clipserve_gateway.errors import (
    Conflict,
    MigrationConflict,
)

from testing.domain import OTHER, SOON
from testing.migrations import UNIT, ready, row, tables, texts, until

pytestmark = pytest.mark.usefixtures("no_waiting")


async def test_searches_during_a_switch_are_answered_by_one_of_the_models(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(8))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    models = set()

    async def search():
        while OTHER not in models:
            outcome = await domain.search("pets", Part("text 3"), top_k=1)
            assert outcome.groups[0].hit.id == "0003"
            models.add(outcome.collection.model)

    async def switch():
        await domain.migrator.switch("pets", without_failed=False)
        await domain.migrator.end("pets")

    await asyncio.gather(*(search() for _ in range(4)), switch())
    assert models <= {"fake", OTHER}


async def test_a_roll_back_brings_what_was_written_and_deleted_since_the_switch(domain):
    await ready(domain)
    switched = await domain.migrator.switch("pets", without_failed=False)
    await domain.upsert("pets", NewPoint("both", "both", {"year": 2}))
    # A writer that died half-way, and one whose writes to both tables crossed with another's.
    await domain.engine.upsert(switched.table, [row("half", "half", 7, year=2), row("0001", "x", 8, year=2)])
    await domain.engine.delete(switched.table, ["0002"])
    await domain.migrator.roll_back("pets")
    old, new = await tables(domain)
    assert {id: point.payload["year"] for id, point in old.items()} == {
        "0000": 1,
        "0001": 2,
        "both": 2,
        "half": 2,
    }
    assert old.keys() == new.keys()


async def test_points_that_a_switch_dropped_come_back_with_the_old_model(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("bare", UNIT[0], {}), NewPoint("good", "a", {}))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    await domain.migrator.switch("pets", without_failed=False, accept_dropped=1)
    [new, _] = await tables(domain)
    assert new.keys() == {"good"}
    await domain.migrator.roll_back("pets")
    [old, _] = await tables(domain)
    assert old.keys() == {"bare", "good"}


async def test_writes_wait_while_a_switch_is_under_way(gateways, engine, monkeypatch):
    first, second = await gateways(engine), await gateways(engine)
    await ready(first)
    copying, go_on = asyncio.Event(), asyncio.Event()
    reconcile = first.migrator._filler.reconcile

    async def reconcile_and_wait(*args, fenced=False, **kwargs):
        if fenced:
            copying.set()
            await go_on.wait()
        return await reconcile(*args, fenced=fenced, **kwargs)

    monkeypatch.setattr(first.migrator._filler, "reconcile", reconcile_and_wait)
    switch = asyncio.ensure_future(first.migrator.switch("pets", without_failed=False))
    await copying.wait()
    writes = [
        asyncio.ensure_future(second.upsert("pets", NewPoint("late", "late", {"year": 2}))),
        asyncio.ensure_future(second.points.delete("pets", ["0000"], SOON)),
    ]
    await asyncio.sleep(0.2)
    assert not any(write.done() for write in writes)
    with pytest.raises(MigrationConflict, match="being switched"):
        await second.migrator.end("pets")
    go_on.set()
    await switch
    await asyncio.gather(*writes)
    new, old = await tables(first)
    assert new.keys() == old.keys() == {"0001", "0002", "late"}


async def test_a_write_that_a_switch_overtook_is_not_acknowledged_unless_it_is_there(domain, monkeypatch):
    await ready(domain)
    upsert = domain.engine.upsert
    overtaken = []

    async def upsert_and_be_overtaken(table, points, **kwargs):
        await upsert(table, points, **kwargs)
        if points[0].id == "late" and not overtaken:
            overtaken.append(True)
            # Its first table has it; the one that answers would have it too late.
            await domain.migrator.switch("pets", without_failed=False)

    monkeypatch.setattr(domain.engine, "upsert", upsert_and_be_overtaken)
    with pytest.raises(Conflict, match="switched to another model"):
        await domain.upsert("pets", NewPoint("late", "late", {"year": 2}))
    assert overtaken
    assert await domain.upsert("pets", NewPoint("late", "late", {"year": 3})) == [None]


async def test_the_switch_of_a_gateway_that_died_is_given_up(gateways, engine):
    first, second = await gateways(engine), await gateways(engine)
    await ready(first)
    dead = Switchover("dead", Phase.COPY)
    await first.catalog.update(
        "pets",
        lambda it: dataclasses.replace(it, migration=dataclasses.replace(it.migration, switchover=dead)),
    )
    watch = asyncio.ensure_future(second.migrator.watch())
    assert await second.upsert("pets", NewPoint("late", "late", {"year": 2})) == [None]
    watch.cancel()
    switched = await second.migrator.switch("pets", without_failed=False)
    assert switched.model == OTHER


@pytest.mark.parametrize(
    ("dropped", "total", "without_failed", "accepted", "allowed"),
    [
        (0, 5, False, 0, True),
        (1, 2, False, 0, False),
        (1, 2, True, 0, True),
        (2, 2, True, 0, False),
        (16, 99, True, 0, True),
        (17, 99, True, 0, False),
        (17, 99, False, 17, True),
        (17, 99, True, 16, False),
        (0, 99, True, 1, False),
        (2, 2, False, 2, True),
    ],
)
def test_a_switch_drops_what_was_accepted_and_no_other_number(
    dropped, total, without_failed, accepted, allowed
):
    failures = [(str(i), "gone") for i in range(dropped)]
    check = functools.partial(
        switchover_module.check_dropped, failures, total, without_failed=without_failed, accepted=accepted
    )
    if allowed:
        check()
        return
    with pytest.raises(MigrationConflict, match=f"{dropped} of {total} points") as caught:
        check()
    assert caught.value.metadata == {"dropped": str(dropped), "total": str(total)}
