"""Both tables of a migration become equal, and their models are compared."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest
from clipserve_gateway.collection import migration as migration_module
from clipserve_gateway.collection.migration_fill import BATCH, Filler
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import MigrationState
from clipserve_gateway.index.values import Eq, Point

from testing.domain import OTHER, SOON, Domain, two_models
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine
from testing.migrations import UNIT, other_table, ready, row, tables, texts, until

pytestmark = pytest.mark.usefixtures("no_waiting")


async def test_writes_and_deletes_meanwhile_end_up_in_both(domain, monkeypatch):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(2 * BATCH, year=1))
    paused, go_on = asyncio.Event(), asyncio.Event()
    page = domain.migrator._filler.page

    async def page_and_wait(spec, after):
        ids = await page(spec, after)
        if after == "":
            paused.set()
            await go_on.wait()
        return ids

    monkeypatch.setattr(domain.migrator._filler, "page", page_and_wait)
    await domain.migrator.start("pets", OTHER)
    await paused.wait()
    # A page of ids is in the filler's hands: what is done to these points now must not be undone.
    await domain.upsert("pets", NewPoint("0000", "another text", {"year": 2}), NewPoint("new", "new", {}))
    assert await domain.points.delete("pets", ["0001", f"{BATCH + 1:04d}"], SOON) == 2
    assert await domain.points.delete_where(await domain.catalog.get("pets"), Eq("year", 2), SOON) == 1
    await domain.upsert("pets", NewPoint("0000", "yet another text", {"year": 3}))
    go_on.set()
    await until(domain, MigrationState.READY)
    old, new = await tables(domain)
    assert old.keys() == new.keys()
    assert "0001" not in old
    assert len(old) == 2 * BATCH - 1
    for id in old:
        assert old[id].payload == new[id].payload
        np.testing.assert_allclose(old[id].embedding, new[id].embedding, atol=1e-5)
    assert new["0000"].payload == {"year": 3}


async def test_embeddings_alone_are_refused_while_a_collection_moves(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("bare", UNIT[0], {}), NewPoint("good", "a", {}))
    await domain.migrator.start("pets", OTHER)
    ready = await until(domain, MigrationState.READY)
    assert [id for id, _ in ready.failures] == ["bare"]
    statuses = await domain.upsert("pets", NewPoint("vector", UNIT[1], {}), NewPoint("text", "b", {}))
    assert [error and error.reason for error in statuses] == ["MIGRATION_CONFLICT", None]
    old, new = await tables(domain)
    assert "text" in old
    assert "text" in new
    assert "vector" not in old


async def test_the_overlap_is_the_share_of_common_neighbors():
    """Two crowds of eleven points; in the other table, five of each have gone over to the other crowd."""
    engine = MemoryEngine()
    domain = Domain(engine, await fake_models(two_models(), default="fake"), None)
    spec = await domain.create()
    other = dataclasses.replace(spec.serving, table="other")
    migration = migration_module.Migration(MigrationState.RUNNING, other, spec.create_time)
    spec = dataclasses.replace(spec, migration=migration)
    await engine.create_table(spec.table_of(other))

    def crowd(names, center):
        vectors = [UNIT[center] + 0.01 * i * UNIT[center + 1] for i in range(len(names))]
        return [Point(name, {}, it / np.linalg.norm(it)) for name, it in zip(names, vectors, strict=True)]

    a, b = [f"a{i}" for i in range(11)], [f"b{i}" for i in range(11)]
    await engine.upsert(spec.table, crowd(a, 0) + crowd(b, 3))
    await engine.upsert(spec.table_of(other), crowd(a[:6] + b[6:], 0) + crowd(b[:6] + a[6:], 3))
    filler = Filler(engine, domain.embedder, domain.sources)
    overlap = await filler.overlap(spec, ["a0", "b0", "gone"])
    assert (overlap.k, overlap.queries) == (10, 2)
    assert overlap.mean == overlap.p10 == pytest.approx(0.5)
    assert await filler.overlap(spec, []) is None


async def test_a_write_by_a_gateway_that_did_not_know_of_the_migration_is_not_lost(domain):
    spec = await ready(domain)
    late = [row("0001", "late", 7, year=2), row("new", "new", 8, year=2)]
    await domain.engine.upsert(spec.table, late)
    await domain.engine.delete(spec.table, ["0002"])
    await domain.migrator.switch("pets", without_failed=False)
    new, _ = await tables(domain)
    assert {id: point.payload for id, point in new.items()} == {
        "0000": {"year": 1},
        "0001": {"year": 2},
        "new": {"year": 2},
    }
    assert (await domain.search("pets", Part("late"))).groups[0].hit.id == "0001"


async def test_what_the_new_table_has_and_the_old_one_has_not_is_undone(domain):
    spec = await ready(domain)
    # Two writes of one point crossed, and another one died before it came to the table that answers.
    await domain.engine.upsert(other_table(spec), [row("0001", "x", 7, year=9), row("ghost", "x", 8)])
    await domain.migrator.switch("pets", without_failed=False)
    new, _ = await tables(domain)
    assert {point.payload["year"] for point in new.values()} == {1}
    assert new.keys() == {"0000", "0001", "0002"}


async def test_writes_to_tables_of_older_releases_are_compared_by_what_they_hold(domain):
    spec = await domain.create(keep_sources=True)
    old = dataclasses.replace(spec.serving, table="c_pets_old", stamped=False)
    await domain.engine.create_table(spec.table_of(old))
    await domain.catalog.update("pets", lambda it: dataclasses.replace(it, serving=old))
    await domain.upsert("pets", *texts(3, year=1))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    spec = await domain.catalog.get("pets", fresh=True)
    await domain.engine.upsert(spec.table, [row("0001", "late", 7, year=1)])
    await domain.migrator.switch("pets", without_failed=False)
    assert (await domain.search("pets", Part("late"))).groups[0].hit.id == "0001"
    await domain.upsert("pets", NewPoint("0002", "later", {"year": 3}))
    await domain.migrator.roll_back("pets")
    old_rows, _ = await tables(domain)
    assert old_rows["0002"].payload == {"year": 3}
