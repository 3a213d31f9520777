from __future__ import annotations

import asyncio
import dataclasses
import functools

import numpy as np
import pytest
from clipserve_gateway.collection import catalog as catalog_module
from clipserve_gateway.collection import migration as migration_module
from clipserve_gateway.collection import migration_switchover as turn_module
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.migration_fill import BATCH, Filler
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import MigrationState, Phase, Switchover
from clipserve_gateway.errors import (
    Conflict,
    MigrationConflict,
    ModelNotFound,
    SourcesNotKept,
    StorageUnavailable,
)
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import Eq, Point, Source
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings

from testing.domain import OTHER, SOON, Domain, picture, stored_picture, two_models
from testing.fakes import DIM, SPEC, FakeTriton, fake_models, towers
from testing.memory_engine import MemoryEngine

pytestmark = pytest.mark.usefixtures("no_waiting")
UNIT = np.eye(DIM, dtype=np.float32)


@pytest.fixture
def no_waiting(monkeypatch):
    """Gateways hear of each other at once, so that nothing has to be waited for."""
    monkeypatch.setattr(catalog_module, "CACHE_SECONDS", 0)
    for name in ("CACHE_SECONDS", "SETTLE_SECONDS", "RETRY_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(migration_module, name, 0)
    monkeypatch.setattr(catalog_module, "MIGRATING_CACHE_SECONDS", 0)
    monkeypatch.setattr(turn_module, "PHASE_SECONDS", 0)


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path / "store"))
    yield engine
    await engine.close()


@pytest.fixture
async def gateways(encoder, pool):
    """Makes gateways; each is closed at the end."""
    made = []

    async def make(engine, prefixes=()) -> Domain:
        models = await fake_models(two_models(), default="fake")
        embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
        made.append(Domain(engine, models, embedder, prefixes))
        return made[-1]

    yield make
    for domain in made:
        await domain.close()


@pytest.fixture
async def domain(gateways, engine):
    return await gateways(engine)


async def state_of(domain, name="pets"):
    return (await domain.catalog.get(name, fresh=True)).migration


async def until(domain, state, name="pets"):
    for _ in range(2_000):
        migration = await state_of(domain, name)
        if migration is not None and migration.state is state:
            return migration
        await asyncio.sleep(0.005)
    raise AssertionError(f"{name} is not {state}: {migration}")


async def tables(domain, name="pets") -> list[dict]:
    """The points of each generation, the one that answers first."""
    spec = await domain.catalog.get(name, fresh=True)
    found = []
    for generation in spec.generations:
        points = await domain.engine.scroll(
            spec.table_of(generation), after="", limit=9_999, with_embeddings=True
        )
        found.append({point.id: point for point in points})
    return found


def texts(count, **payload):
    return [NewPoint(f"{i:04d}", f"text {i}", payload) for i in range(count)]


async def test_a_collection_moves_to_another_model_and_back_and_stays(domain):
    before = await domain.create(keep_sources=True)
    count = 7 * BATCH + 3
    await domain.upsert("pets", *texts(count, year=1))
    started = await domain.migrator.start("pets", OTHER)
    assert (started.model, started.migration.state, started.migration.total) == (
        "fake",
        MigrationState.RUNNING,
        count,
    )
    ready = await until(domain, MigrationState.READY)
    assert (ready.done, ready.failed, ready.failures) == (count, 0, ())
    assert ready.overlap.queries == 100
    assert ready.overlap.mean == pytest.approx(1)
    switched = await domain.migrator.switch("pets", without_failed=False)
    assert (switched.model, switched.fingerprint) == (OTHER, "0" * 64)
    assert (await domain.search("pets", Part("text 7"))).groups[0].hit.id == "0007"
    back = await domain.migrator.roll_back("pets")
    assert back.serving == before.serving
    await domain.migrator.switch("pets", without_failed=False)
    ended = await domain.migrator.end("pets")
    assert (ended.model, ended.migration) == (OTHER, None)
    assert await domain.engine.tables() == [ended.serving.table]
    [points] = await tables(domain)
    assert len(points) == count
    assert points["0000"].payload == {"year": 1}


async def test_a_migration_that_is_given_up_leaves_the_collection_as_it_was(domain):
    before = await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(3))
    await domain.migrator.start("pets", OTHER)
    ended = await domain.migrator.end("pets")
    assert ended == before
    assert await domain.engine.tables() == [before.serving.table]


async def test_a_model_of_the_same_weights_is_named_beside_the_collections_own(domain):
    await domain.create(keep_sources=True)
    models = await fake_models(FakeTriton(*towers(), *towers(model="twin")), default="fake")
    migrator = Migrator(domain.engine, domain.catalog, models, domain.embedder, domain.sources)
    with pytest.raises(MigrationConflict) as caught:
        await migrator.start("pets", "twin")
    assert (
        "is already embedded with model 'fake', and model 'twin' has the same weights ("
        in caught.value.message
    )
    assert "its embeddings would not change" in caught.value.message
    assert len(await domain.engine.tables()) == 1


async def test_what_cannot_begin_is_refused(domain):
    await domain.create(keep_sources=True)
    with pytest.raises(MigrationConflict) as caught:
        await domain.migrator.start("pets", "fake")
    assert caught.value.field == "to_model"
    assert caught.value.message.startswith("collection 'pets' is already embedded with model 'fake' (")
    with pytest.raises(ModelNotFound) as missing:
        await domain.migrator.start("pets", "nope")
    assert missing.value.field == "to_model"
    await domain.migrator.start("pets", OTHER)
    with pytest.raises(MigrationConflict):
        await domain.migrator.start("pets", OTHER)
    assert len(await domain.engine.tables()) == 2


async def test_steps_out_of_turn_are_refused(domain, monkeypatch):
    await domain.create(keep_sources=True)
    for step in (domain.migrator.roll_back, domain.migrator.end):
        with pytest.raises(MigrationConflict, match="no migration"):
            await step("pets")
    monkeypatch.setattr(migration_module, "SETTLE_SECONDS", 3600)
    await domain.migrator.start("pets", OTHER)
    with pytest.raises(MigrationConflict, match="once it is ready"):
        await domain.migrator.switch("pets", without_failed=False)
    with pytest.raises(MigrationConflict, match="after a switch"):
        await domain.migrator.roll_back("pets")


async def test_texts_that_lose_their_end_at_the_other_model_are_logged(domain, caplog):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(3), NewPoint("long", "word " * 100, {}))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    assert "1 texts of pets are too long for model other: truncated" in caplog.text


async def test_without_sources_nothing_begins_and_no_table_is_left(domain):
    await domain.create()
    await domain.upsert("pets", *texts(3))
    with pytest.raises(SourcesNotKept, match="CLIPSERVE_SOURCE_PREFIXES"):
        await domain.migrator.start("pets", OTHER)
    assert len(await domain.engine.tables()) == 1


async def test_sources_are_read_again_where_the_operator_allows_it(gateways, engine, tmp_path):
    domain = await gateways(engine, [tmp_path.as_uri()])
    await domain.create()
    uris = [stored_picture(tmp_path, i) for i in range(4)]
    await domain.upsert(
        "pets",
        *(NewPoint(str(i), picture(i), {}, uri) for i, uri in enumerate(uris)),
        NewPoint("elsewhere", "a", {}, "file:///nowhere/a.png"),
    )
    (tmp_path / "2.png").unlink()
    await domain.migrator.start("pets", OTHER)
    ready = await until(domain, MigrationState.READY)
    assert ready.failed == 2
    assert dict(ready.failures).keys() == {"2", "elsewhere"}
    with pytest.raises(MigrationConflict) as caught:
        await domain.migrator.switch("pets", without_failed=False)
    assert caught.value.field == "accept_dropped"
    await domain.migrator.switch("pets", without_failed=True)
    new, _ = await tables(domain)
    assert new.keys() == {"0", "1", "3"}


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


async def test_a_migration_goes_on_where_a_dead_gateway_left_it(gateways, engine, monkeypatch):
    first = await gateways(engine)
    await first.create(keep_sources=True)
    await first.upsert("pets", *texts(3 * BATCH))
    died = asyncio.Event()
    page = first.migrator._filler.page

    async def page_or_die(spec, after):
        if after:
            died.set()
            await asyncio.Event().wait()
        return await page(spec, after)

    monkeypatch.setattr(first.migrator._filler, "page", page_or_die)
    await first.migrator.start("pets", OTHER)
    await died.wait()
    await first.migrator.close()
    left = await state_of(first)
    assert (left.state, left.done) == (MigrationState.RUNNING, BATCH)
    second = await gateways(engine)
    watch = asyncio.ensure_future(second.migrator.watch())
    ready = await until(second, MigrationState.READY)
    watch.cancel()
    assert ready.done == 3 * BATCH
    old, new = await tables(second)
    assert old.keys() == new.keys()


async def test_two_gateways_that_both_work_on_one_migration_do_no_harm(gateways, engine):
    first, second = await gateways(engine), await gateways(engine)
    await first.create(keep_sources=True)
    await first.upsert("pets", *texts(2 * BATCH))
    started = await first.migrator.start("pets", OTHER)
    second.migrator._work_on(started)
    ready = await until(first, MigrationState.READY)
    assert ready.failed == 0
    old, new = await tables(first)
    assert old.keys() == new.keys()


async def test_what_stops_a_migration_is_told_and_tried_again(domain, monkeypatch):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(3))
    page, told = domain.migrator._filler.page, []

    async def page_with_trouble(spec, after):
        if not told:
            raise StorageUnavailable("the disk is away")
        return await page(spec, after)

    monkeypatch.setattr(domain.migrator._filler, "page", page_with_trouble)
    await domain.migrator.start("pets", OTHER)
    while not told:
        migration = await state_of(domain)
        told += [migration.error] if migration.error else []
        await asyncio.sleep(0)
    assert told == ["the disk is away"]
    ready = await until(domain, MigrationState.READY)
    assert ready.error == ""


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


def other_table(spec):
    return spec.table_of(spec.migration.other)


async def ready(domain, count=3):
    """A collection of texts whose migration is ready."""
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(count, year=1))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    return await domain.catalog.get("pets", fresh=True)


def row(id, text, stamp, **payload):
    """A point as a gateway stores it."""
    return Point(id, payload, UNIT[0], Source("text", text.encode()), stamp=stamp)


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


async def test_a_migration_none_of_whose_points_could_be_embedded_is_not_ready(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *(NewPoint(f"bare{i}", UNIT[i], {}) for i in range(3)))
    await domain.migrator.start("pets", OTHER)
    while not (await state_of(domain)).error:
        await asyncio.sleep(0.01)
    migration = await state_of(domain)
    assert migration.state is MigrationState.RUNNING
    assert "none of the 3 points could be embedded again; the first is 'bare0'" in migration.error
    for accepted in ({"without_failed": True}, {"without_failed": True, "accept_dropped": 3}):
        with pytest.raises(MigrationConflict, match="once it is ready"):
            await domain.migrator.switch("pets", **accepted)
    # One that can be embedded is enough to go on.
    await domain.upsert("pets", NewPoint("good", "good", {}))
    await until(domain, MigrationState.READY)


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
        turn_module.check_dropped, failures, total, without_failed=without_failed, accepted=accepted
    )
    if allowed:
        check()
        return
    with pytest.raises(MigrationConflict, match=f"{dropped} of {total} points") as caught:
        check()
    assert caught.value.metadata == {"dropped": str(dropped), "total": str(total)}


async def test_the_fingerprint_of_a_migrated_collection_is_the_new_models(domain):
    await domain.create(keep_sources=True)
    await domain.upsert("pets", *texts(3))
    await domain.migrator.start("pets", OTHER)
    await until(domain, MigrationState.READY)
    await domain.migrator.switch("pets", without_failed=False)
    assert await domain.upsert("pets", NewPoint("a", "a", {}), fingerprint="0" * 64) == [None]
    with pytest.raises(Exception, match=SPEC.fingerprint):
        await domain.upsert("pets", NewPoint("a", "a", {}), fingerprint=SPEC.fingerprint)


async def test_a_collection_of_a_replaced_model_moves_to_the_one_that_took_its_name(encoder, pool):
    source = FakeTriton()
    models = await fake_models(source)
    embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    domain = Domain(MemoryEngine(), models, embedder)
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("dog", "a dog", {}))
    source.found = {it.triton_name: it for it in towers(fingerprint="e" * 64)}
    await models.refresh()
    await domain.migrator.start("pets", "fake")
    await until(domain, MigrationState.READY)
    await domain.migrator.switch("pets", without_failed=False)
    spec = await domain.migrator.end("pets")
    assert (spec.serving.model, spec.fingerprint) == ("fake", "e" * 64)
    assert await domain.upsert("pets", NewPoint("cat", "a cat", {})) == [None]
    assert [it.hit.id for it in (await domain.search("pets", Part("a dog"))).groups] == ["dog", "cat"]
    await domain.close()
