"""Tables that the catalog does not account for: kept, told, and never deleted on a guess."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from clipserve_gateway.cli import main
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.name_claims import CLAIMS
from clipserve_gateway.collection.spec import (
    COLLECTIONS,
    NAME,
    CollectionSpec,
    Generation,
    Migration,
    MigrationState,
    write_spec,
)
from clipserve_gateway.collection.tables import (
    RECORDS,
    create_table,
    escaped,
    is_collection_table,
    new_table_name,
)
from clipserve_gateway.errors import Conflict, StoreNotWritable
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import PayloadType, Point, TableSpec
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.store import guard, repair
from clipserve_gateway.store.check import inspect_store
from clipserve_gateway.store.guard import guarded
from hypothesis import given
from hypothesis import strategies as st

from testing.memory_engine import MemoryEngine

VECTOR = np.eye(8, dtype=np.float32)[0]


def spec(name="pets") -> CollectionSpec:
    generation = Generation(new_table_name(name), "fake", "f" * 64, 8)
    created = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone.utc)
    return CollectionSpec(name, {"year": PayloadType.INT}, created, generation)


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path))
    yield engine
    await engine.close()


@pytest.fixture
async def made(engine):
    """Two collections with a point each."""
    specs = [spec("pets"), spec("shop")]
    for it in specs:
        await Catalog(engine).create(it)
        await engine.upsert(it.table, [Point(f"of {it.name}", {"year": 1}, VECTOR)])
    return specs


async def lose_catalog(engine, prefix=""):
    for document in await engine.documents(prefix):
        await engine.delete_document(document.key, version=document.version)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(guard, "RECHECK_SECONDS", 0.0)


def gauge(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


async def test_a_lost_catalog_refuses_writes_and_deletes_nothing(engine, made, caplog):
    await lose_catalog(engine)
    metrics = Metrics()
    gateway = guarded(engine, metrics)
    await gateway.open()
    assert set(await engine.tables()) == {it.serving.table for it in made}
    assert gauge(metrics, "clipserve_store_writable") == 0
    assert gauge(metrics, "clipserve_orphan_tables", table=made[0].serving.table) == 1
    [line] = [it for it in caplog.records if it.levelname == "ERROR"]
    assert "store rebuild" in line.message
    with pytest.raises(StoreNotWritable, match="was lost, or is older"):
        await Catalog(gateway).create(spec("another"))
    with pytest.raises(StoreNotWritable):
        await gateway.upsert(made[0].table, [Point("x", {}, VECTOR)])
    with pytest.raises(StoreNotWritable):
        await gateway.put_document("labels/head/x", b"{}", version=0)
    assert await gateway.count(made[0].table) == 1


async def test_an_older_catalog_refuses_writes_but_reads_what_it_lists(engine, made):
    for key in (COLLECTIONS + "shop", RECORDS + made[1].serving.table):
        document = await engine.get_document(key)
        await engine.delete_document(key, version=document.version)
    gateway = guarded(engine, Metrics())
    catalog = Catalog(gateway)
    assert (await catalog.get("pets")).serving == made[0].serving
    with pytest.raises(StoreNotWritable, match=made[1].serving.table):
        await gateway.upsert(made[0].table, [Point("x", {}, VECTOR)])
    assert await gateway.count(made[0].table) == 1


async def test_a_catalog_that_lists_what_is_gone_refuses_writes(engine, made):
    await engine.drop_table(made[0].serving.table)
    gateway = guarded(engine, Metrics())
    with pytest.raises(StoreNotWritable, match="older than"):
        await gateway.upsert(made[1].table, [Point("x", {}, VECTOR)])
    await repair.forget(engine, "pets")
    await gateway.upsert(made[1].table, [Point("x", {}, VECTOR)])
    with pytest.raises(Conflict):
        await repair.forget(engine, "shop")


async def test_what_an_interrupted_create_left_is_kept_and_stops_no_writes(engine, made, caplog):
    left = spec("left")
    await create_table(engine, left, left.serving)
    metrics = Metrics()
    gateway = guarded(engine, metrics)
    await gateway.upsert(made[0].table, [Point("x", {}, VECTOR)])
    assert left.serving.table in await engine.tables()
    assert gauge(metrics, "clipserve_orphan_tables", table=left.serving.table) == 1
    assert gauge(metrics, "clipserve_store_writable") == 1
    [line] = [it.message for it in caplog.records if it.levelname == "WARNING"]
    assert f"store orphans --delete {left.serving.table}" in line
    with pytest.raises(Conflict, match="pets"):
        await repair.delete(engine, made[0].serving.table)
    await repair.delete(engine, left.serving.table)
    assert left.serving.table not in await engine.tables()
    assert (await inspect_store(engine)).orphans == ()


async def test_a_drop_by_another_gateway_while_the_store_is_looked_at_is_no_lost_catalog(
    engine, made, monkeypatch
):
    documents = engine.documents

    async def slowly(prefix):
        if prefix == RECORDS:
            await Catalog(engine).drop("pets")
        return await documents(prefix)

    monkeypatch.setattr(engine, "documents", slowly)
    assert (await inspect_store(engine)).problem == ""


async def test_a_migration_whose_table_is_missing_can_be_taken_off(engine, made):
    pets = made[0]
    other = dataclasses.replace(pets.serving, table=new_table_name("pets"))
    created = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)
    moving = dataclasses.replace(pets, migration=Migration(MigrationState.RUNNING, other, created, 1))
    document = await engine.get_document(COLLECTIONS + "pets")
    await engine.put_document(document.key, write_spec(moving), version=document.version)
    assert "lists 1 table" in (await inspect_store(engine)).problem
    assert "migration" in await repair.forget(engine, "pets")
    assert (await inspect_store(engine)).problem == ""
    assert (await Catalog(engine).get("pets")).migration is None
    assert await engine.count(pets.table) == 1


async def test_an_interrupted_drop_is_finished(engine, made, monkeypatch):
    async def killed(table):
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(engine, "drop_table", killed)
        with pytest.raises(ConnectionError):
            await Catalog(engine).drop("pets")
    assert made[0].serving.table in await engine.tables()
    await guarded(engine, Metrics()).open()
    assert await engine.tables() == [made[1].serving.table]
    assert [it.key for it in await engine.documents(RECORDS)] == [RECORDS + made[1].serving.table]


async def test_a_catalog_is_rebuilt_from_the_tables(engine, made):
    await lose_catalog(engine)
    gateway = guarded(engine, Metrics())
    await gateway.open()
    done = await repair.rebuild(engine)
    assert done.collections == ("pets", "shop")
    assert done.remaining == {}
    assert [await Catalog(gateway).get(it.name) for it in made] == made
    await gateway.upsert(made[0].table, [Point("x", {}, VECTOR)])


async def test_a_rebuild_takes_no_name_that_is_an_alias(engine, made):
    await lose_catalog(engine)
    catalog = Catalog(engine)
    await repair.rebuild(engine, [made[1].serving.table])
    for prefix in (COLLECTIONS + "pets", RECORDS + made[0].serving.table, CLAIMS + "pets"):
        await lose_catalog(engine, prefix)
    await catalog.put_alias("pets", "shop")
    rebuilt = await repair.rebuild(engine)
    assert rebuilt.collections == ()
    assert "there is an alias 'pets'" in rebuilt.remaining[made[0].serving.table]


async def test_of_two_tables_of_one_name_none_is_taken_by_chance(engine, made):
    await lose_catalog(engine)
    second = spec("pets")
    await create_table(engine, second, second.serving)
    await lose_catalog(engine)
    done = await repair.rebuild(engine)
    assert done.collections == ("shop",)
    assert set(done.remaining) == {made[0].serving.table, second.serving.table}
    done = await repair.rebuild(engine, [made[0].serving.table])
    assert done.collections == ("pets",)
    assert (await inspect_store(engine)).problem != ""
    await repair.accept(engine, second.serving.table)
    assert (await inspect_store(engine)).problem == ""


async def test_tables_of_an_earlier_release_get_what_a_rebuild_needs(engine):
    old = spec()
    await engine.create_table(old.table)
    await engine.put_document(COLLECTIONS + "pets", write_spec(old), version=0)
    assert (await inspect_store(engine)).problem == ""
    await engine.upsert(old.table, [Point("x", {"year": 3}, VECTOR)])
    await lose_catalog(engine)
    assert (await repair.rebuild(engine)).collections == ("pets",)
    assert await Catalog(engine).get("pets") == old


async def test_tables_of_others_are_left_alone(engine, made):
    await engine.create_table(TableSpec("not_ours", 8, {}))
    assert (await inspect_store(engine)).problem == ""
    with pytest.raises(Conflict):
        await repair.delete(engine, made[0].serving.table)


async def test_the_commands_tell_and_repair(tmp_path):
    engine, made = LanceEngine(str(tmp_path)), spec()
    await Catalog(engine).create(made)
    await engine.upsert(made.table, [Point("x", {"year": 3}, VECTOR)])
    await engine.close()
    shutil.rmtree(tmp_path / "clipserve_catalog.lance")

    def command(*words):
        return asyncio.to_thread(CliRunner().invoke, main, ["store", *words, "--data", str(tmp_path)])

    done = await command("orphans")
    assert f"{made.serving.table}: collection pets, 1 points, unknown to the catalog" in done.output
    done = await command("rebuild")
    assert (done.exit_code, done.output) == (0, "collection pets is in the catalog again\n")
    done = await command("orphans")
    assert done.output == "every table belongs to a collection\n"
    done = await command("orphans", "--delete", made.serving.table)
    assert done.exit_code == 1
    assert "belongs to collection 'pets'" in done.output


@pytest.mark.parametrize("words", [["orphans"], ["rebuild"], ["forget", "pets"]])
def test_the_commands_refuse_a_folder_that_holds_no_store(tmp_path, words):
    place = tmp_path / "mistyped"
    done = CliRunner().invoke(main, ["store", *words, "--data", str(place)])
    assert done.exit_code == 1
    assert f"there is no store in {place}; give its folder with --data" in done.output
    assert not place.exists()


@given(st.lists(st.from_regex(NAME, fullmatch=True), min_size=2, max_size=6, unique=True))
def test_tables_are_named_by_letters_digits_and_underscores_and_no_two_names_become_one(names):
    assert len({escaped(name) for name in names}) == len(names)
    for name in names:
        table = new_table_name(name)
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,254}", table)  # what Milvus allows
        assert is_collection_table(table)


async def test_names_that_differ_in_a_hyphen_only_are_two_collections(engine):
    catalog = Catalog(engine)
    for name in ("my-photos", "my_photos", "my__photos", "my_hphotos"):
        it = spec(name)
        await catalog.create(it)
        await catalog.put_alias(f"{name}-now", name)
        await engine.upsert(it.table, [Point(name, {"year": 1}, VECTOR)])
    for name in ("my-photos", "my_photos", "my__photos", "my_hphotos"):
        current = await catalog.get(f"{name}-now")
        assert current.name == name
        assert [point.id for point in await engine.scroll(current.table, after="", limit=9)] == [name]
    assert (await inspect_store(engine)).problem == ""
