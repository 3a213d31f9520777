"""Migrations to other models: begun, filled, continued by other gateways, switched and ended."""

from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.collection import migration as migration_module
from clipserve_gateway.collection.migration import Migrator
from clipserve_gateway.collection.migration_fill import BATCH
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import MigrationState
from clipserve_gateway.errors import (
    MigrationConflict,
    ModelNotFound,
    SourcesNotKept,
    StorageUnavailable,
)
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings

from testing.domain import OTHER, Domain, picture, stored_picture
from testing.fakes import SPEC, FakeTriton, canary_parameters, fake_models, towers
from testing.memory_engine import MemoryEngine
from testing.migrations import UNIT, state_of, tables, texts, until

pytestmark = pytest.mark.usefixtures("no_waiting")


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
    same = {"fingerprint": SPEC.fingerprint, **canary_parameters()}
    source = FakeTriton(*towers(**same), *towers(model="twin", **same))
    models = await fake_models(source, default="fake")
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
