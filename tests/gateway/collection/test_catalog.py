from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from clipserve_gateway.collection import catalog as catalog_module
from clipserve_gateway.collection.catalog import CACHE_SECONDS, Catalog
from clipserve_gateway.collection.name_claims import CLAIMS
from clipserve_gateway.collection.spec import CollectionSpec, Generation, read_spec, write_spec
from clipserve_gateway.collection.tables import new_table_name
from clipserve_gateway.errors import (
    AliasNotFound,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    Conflict,
    StorageFailed,
    TableNotFound,
)
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import IndexOptions, PayloadType

from testing.memory_engine import MemoryEngine


def spec(name="pets", **changes) -> CollectionSpec:
    generation = Generation(new_table_name(name), "fake", "f" * 64, 8)
    created = dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone.utc)
    return CollectionSpec(name, {"year": PayloadType.INT}, created, generation, **changes)


class Clock:
    """The time as tests want it."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(catalog_module.time, "monotonic", clock.monotonic)
    # The event loop goes by this clock too: no sleep would end.
    monkeypatch.setattr(catalog_module, "RETARGET_SECONDS", 0)
    return clock


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else LanceEngine(str(tmp_path))
    yield engine
    await engine.close()


@pytest.fixture
async def catalog(engine):
    catalog = Catalog(engine)
    yield catalog
    await catalog.close()


@pytest.fixture
async def other(engine):
    """The catalog of another gateway."""
    catalog = Catalog(engine)
    yield catalog
    await catalog.close()


def test_a_document_keeps_all_that_a_collection_is():
    full = spec(keep_sources=True, index=IndexOptions(m=8, ef_search=99))
    assert read_spec(write_spec(full)) == full


async def test_a_collection_is_what_it_was_made_as(catalog, other):
    made = spec()
    await catalog.create(made)
    assert await catalog.get("pets") == made
    assert await other.get("pets") == made
    assert [it.name for it in await other.all()] == ["pets"]


async def test_a_taken_name_is_refused_and_no_table_is_left(catalog, engine):
    first = spec()
    await catalog.create(first)
    with pytest.raises(CollectionExists):
        await catalog.create(spec())
    await catalog.put_alias("animals", "pets")
    with pytest.raises(CollectionExists):
        await catalog.create(spec("animals"))
    assert await engine.tables() == [first.serving.table]


async def test_of_creates_at_once_by_two_gateways_one_wins(catalog, other, engine):
    results = await asyncio.gather(catalog.create(spec()), other.create(spec()), return_exceptions=True)
    assert sorted(type(it).__name__ for it in results) == ["CollectionExists", "NoneType"]
    assert await engine.tables() == [(await catalog.get("pets", fresh=True)).serving.table]


class SlowEngine(MemoryEngine):
    """Makes a table only when it may; counts the looks at claims."""

    def __init__(self):
        super().__init__()
        self.may, self.begun, self.looked = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.looks, self.failure = 0, None

    async def create_table(self, table, facts=b""):
        self.begun.set()
        await self.may.wait()
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        await super().create_table(table, facts)

    async def get_document(self, key):
        if key.startswith(CLAIMS):
            self.looks += 1
            if self.looks == 4:
                self.looked.set()
        return await super().get_document(key)


async def two_creates(engine):
    """Of two gateways: the one that makes it and waits for its table, the one that waits for that."""
    first = asyncio.create_task(Catalog(engine).create(spec()))
    await engine.begun.wait()
    second = asyncio.create_task(Catalog(engine).create(spec()))
    looked = asyncio.create_task(engine.looked.wait())
    await asyncio.wait({second, looked}, return_when=asyncio.FIRST_COMPLETED)
    looked.cancel()
    assert not second.done()
    return first, second


async def test_a_collection_that_exists_can_be_read_also_while_another_caller_makes_it():
    engine = SlowEngine()
    first, second = await two_creates(engine)
    engine.may.set()
    with pytest.raises(CollectionExists):
        await second
    # Read before the other caller has its answer, too.
    assert (await Catalog(engine).get("pets")).name == "pets"
    await first


async def test_whoever_waited_for_a_caller_that_failed_makes_the_collection():
    engine = SlowEngine()
    first, second = await two_creates(engine)
    engine.failure = StorageFailed("the disk is full")
    engine.may.set()
    with pytest.raises(StorageFailed):
        await first
    await second
    assert await engine.tables() == [(await Catalog(engine).get("pets")).serving.table]


async def test_a_caller_that_waits_no_longer_leaves_the_name_to_the_other():
    engine = SlowEngine()
    first, second = await two_creates(engine)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    engine.may.set()
    await first
    assert await engine.tables() == [(await Catalog(engine).get("pets")).serving.table]


async def test_what_is_not_there_is_not_found_and_the_field_is_named(catalog):
    with pytest.raises(CollectionNotFound) as caught:
        await catalog.get("nope", field="name")
    assert caught.value.field == "name"
    with pytest.raises(CollectionNotFound) as caught:
        await catalog.put_alias("alias", "nope")
    assert caught.value.field == "alias.collection"
    with pytest.raises(AliasNotFound):
        await catalog.delete_alias("nope")


@pytest.mark.parametrize(
    "name", ["", "ab", "1abc", "-abc", "a b c", "a" * 65, "a" * 1_000_000, "pets\n", "pets\0", "x' OR 1"]
)
async def test_what_cannot_be_a_name_is_not_found_without_asking_the_engine(
    catalog, engine, monkeypatch, name
):
    async def get_document(key):
        raise AssertionError(f"asked for {key[:80]!r}")

    await catalog.create(spec())
    monkeypatch.setattr(engine, "get_document", get_document)
    for call in (catalog.get(name), catalog.get(name, fresh=True), catalog.drop(name)):
        with pytest.raises(CollectionNotFound):
            await call
    with pytest.raises(AliasNotFound):
        await catalog.delete_alias(name)


async def test_a_dropped_collection_is_gone_and_its_name_gets_another_table(catalog, engine):
    first = spec()
    await catalog.create(first)
    await catalog.drop("pets")
    assert await engine.tables() == []
    with pytest.raises(CollectionNotFound):
        await catalog.get("pets")
    second = spec()
    await catalog.create(second)
    assert second.serving.table != first.serving.table


async def test_what_another_gateway_did_is_seen_when_belief_ends(catalog, other, clock):
    await catalog.create(spec())
    assert (await other.get("pets")).keep_sources is False
    await catalog.drop("pets")
    await catalog.create(spec(keep_sources=True))
    clock.now += CACHE_SECONDS / 4
    assert (await other.get("pets")).keep_sources is False
    clock.now += CACHE_SECONDS
    assert (await other.get("pets")).keep_sources is True


async def test_names_in_use_are_read_again_before_belief_ends(catalog, other, clock):
    await catalog.create(spec())
    await other.get("pets")
    await catalog.drop("pets")
    await catalog.create(spec(keep_sources=True))
    clock.now += 0.75 * CACHE_SECONDS
    assert (await other.get("pets")).keep_sources is False
    await asyncio.gather(*other._renewals.running.values())
    assert (await other.get("pets")).keep_sources is True


async def test_an_alias_means_a_collection_and_can_mean_another(catalog, other, clock):
    await catalog.create(spec("pets_v1"))
    await catalog.create(spec("pets_v2"))
    assert await catalog.put_alias("pets", "pets_v1") == ""
    assert (await other.get("pets")).name == "pets_v1"
    assert await catalog.put_alias("pets", "pets_v2") == "pets_v1"
    assert (await catalog.get("pets")).name == "pets_v2"
    clock.now += CACHE_SECONDS
    assert (await other.get("pets")).name == "pets_v2"
    assert await other.aliases() == {"pets": "pets_v2"}
    await catalog.delete_alias("pets")
    with pytest.raises(CollectionNotFound):
        await catalog.get("pets")


async def test_an_alias_means_no_alias_and_takes_no_collections_name(catalog):
    await catalog.create(spec())
    await catalog.put_alias("alias", "pets")
    with pytest.raises(CollectionNotFound):
        await catalog.put_alias("second", "alias")
    with pytest.raises(CollectionExists):
        await catalog.put_alias("pets", "pets")


async def test_a_collection_that_an_alias_means_is_not_dropped(catalog):
    await catalog.create(spec())
    await catalog.put_alias("alias", "pets")
    with pytest.raises(CollectionHasAliases, match="alias"):
        await catalog.drop("pets")
    with pytest.raises(CollectionNotFound):
        await catalog.drop("alias")
    await catalog.delete_alias("alias")
    await catalog.drop("pets")


async def test_changes_by_several_gateways_all_come_to_pass(catalog, other):
    await catalog.create(spec())

    def lengthen(current: CollectionSpec) -> CollectionSpec:
        index = IndexOptions(m=current.index.m + 1)
        return CollectionSpec(current.name, current.schema, current.create_time, current.serving, index=index)

    await asyncio.gather(*(one.update("pets", lengthen) for one in (catalog, other) for _ in range(4)))
    assert (await catalog.get("pets", fresh=True)).index.m == 8


async def test_a_change_that_others_always_outrun_is_given_up(catalog, engine, monkeypatch):
    await catalog.create(spec())

    async def outrun(key, value, *, version):
        return False

    monkeypatch.setattr(engine, "put_document", outrun)
    with pytest.raises(Conflict):
        await catalog.update("pets", lambda current: spec(keep_sources=True))


async def test_a_read_follows_a_collection_whose_table_was_replaced(catalog, other, engine):
    await catalog.create(spec())
    await other.get("pets")
    await catalog.drop("pets")
    second = spec()
    await catalog.create(second)
    asked = []

    async def count(current: CollectionSpec) -> int:
        asked.append(current.serving.table)
        return await engine.count(current.table)

    assert await other.reading("pets", count) == 0
    assert asked[-1] == second.serving.table


async def test_a_read_whose_table_is_gone_for_good_says_so_after_one_more_look(catalog, engine):
    made = spec()
    await catalog.create(made)
    await engine.drop_table(made.serving.table)
    calls = 0

    async def count(current: CollectionSpec) -> int:
        nonlocal calls
        calls += 1
        return await engine.count(current.table)

    with pytest.raises(TableNotFound):
        await catalog.reading("pets", count)
    assert calls == 1
