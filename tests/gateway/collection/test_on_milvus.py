"""Migrations, deletes and races on names where the collections are in a real Milvus server."""

from __future__ import annotations

import asyncio

import pytest
from clipserve_gateway.collection import catalog as catalog_module
from clipserve_gateway.collection import migration as migration_module
from clipserve_gateway.collection import migration_switchover as turn_module
from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.search import Part
from clipserve_gateway.collection.spec import MigrationState
from clipserve_gateway.errors import ClipserveError, CollectionNotFound
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.index.values import Point
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings
from clipserve_gateway.types import LabelSet, LabelSetRef

from testing.domain import OTHER, SOON, Domain, picture, stored_picture, two_models
from testing.fakes import fake_models
from testing.name_process import TARGET, new_collection

pytestmark = pytest.mark.slow
STRONG = MilvusOptions("", consistency="strong")
COUNT = 5
ROUNDS = 3


@pytest.fixture
async def engine(milvus):
    engine = open_engine(milvus.new_database(), STRONG)
    await engine.open()
    yield engine
    await engine.close()


@pytest.fixture
async def domain(engine, encoder, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog_module, "CACHE_SECONDS", 0)
    for name in ("CACHE_SECONDS", "SETTLE_SECONDS", "RETRY_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(migration_module, name, 0)
    monkeypatch.setattr(catalog_module, "MIGRATING_CACHE_SECONDS", 0)
    monkeypatch.setattr(turn_module, "PHASE_SECONDS", 0)
    models = await fake_models(two_models(), default="fake")
    embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
    domain = Domain(engine, models, embedder, [tmp_path.as_uri()])
    yield domain
    await domain.close()


async def moved(domain: Domain, folder) -> None:
    """A collection of pictures in files, whose migration is ready."""
    await domain.create()
    stored = [NewPoint(f"{i}", picture(i), {"year": 1}, stored_picture(folder, i)) for i in range(COUNT)]
    assert await domain.upsert("pets", *stored) == [None] * COUNT
    await domain.migrator.start("pets", OTHER)
    for _ in range(3_000):
        migration = (await domain.catalog.get("pets", fresh=True)).migration
        if migration.state is MigrationState.READY:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not ready: {migration}")


async def years(domain: Domain) -> list[dict[str, int]]:
    """The field `year` of the points of each generation, the one that answers first."""
    spec = await domain.catalog.get("pets", fresh=True)
    generations = []
    for generation in spec.generations:
        rows = await domain.engine.scroll(spec.table_of(generation), after="", limit=999)
        generations.append({it.id: it.payload["year"] for it in rows})
    return generations


def late(id: str, folder, seed: int, vector) -> Point:
    """A row as a gateway wrote it that did not know of the migration."""
    return Point(id, {"year": 2}, vector, None, stored_picture(folder, seed), stamp=70 + seed)


async def test_updates_and_deletes_that_a_migration_missed_are_in_the_new_model_after_the_switch(
    domain, tmp_path
):
    await moved(domain, tmp_path)
    spec = await domain.catalog.get("pets", fresh=True)
    [row] = await domain.engine.fetch(spec.table, ["0"], with_embeddings=True)
    changed = [late("1", tmp_path, 11, row.embedding), late("new", tmp_path, 12, row.embedding)]
    await domain.engine.upsert(spec.table, changed)
    await domain.engine.delete(spec.table, ["2"])
    await domain.migrator.switch("pets", without_failed=False)
    new, _ = await years(domain)
    assert new == {"0": 1, "1": 2, "3": 1, "4": 1, "new": 2}
    best = (await domain.search("pets", Part(picture(11)))).groups[0].hit
    assert (best.id, best.score) == ("1", pytest.approx(1, abs=1e-3))


async def test_what_is_written_and_deleted_after_the_switch_is_there_after_a_roll_back(domain, tmp_path):
    await moved(domain, tmp_path)
    await domain.migrator.switch("pets", without_failed=False)
    update = NewPoint("0", picture(21), {"year": 3}, stored_picture(tmp_path, 21))
    assert await domain.upsert("pets", update) == [None]
    assert await domain.points.delete("pets", ["4"], SOON) == 1
    await domain.migrator.roll_back("pets")
    old, new = await years(domain)
    assert old == new == {"0": 3, "1": 1, "2": 1, "3": 1}
    await domain.migrator.end("pets")
    assert len(await domain.engine.tables()) == 1


async def test_what_was_deleted_or_replaced_is_answered_by_nothing_after_a_purge(domain, tmp_path):
    spec = await domain.create()
    await domain.upsert("pets", *(NewPoint(f"{i}", f"text {i}", {"kind": f"secret {i}"}) for i in range(4)))
    assert await domain.points.delete("pets", ["1"], SOON) == 1
    await domain.upsert("pets", NewPoint("2", "another", {"kind": "open"}))
    await domain.engine.purge(spec.table_of(spec.serving))
    rows = await domain.engine.scroll(spec.table_of(spec.serving), after="", limit=99)
    assert {it.id: it.payload["kind"] for it in rows} == {"0": "secret 0", "2": "open", "3": "secret 3"}
    hits = [group.hit.id for group in (await domain.search("pets", Part("text 1"))).groups]
    assert sorted(hits) == ["0", "2", "3"]


async def outcomes(*doing) -> list[str]:
    """What came of things done at once: `ok`, or the class of the error."""
    results = await asyncio.gather(*doing, return_exceptions=True)
    unexpected = [
        it for it in results if isinstance(it, BaseException) and not isinstance(it, ClipserveError)
    ]
    assert unexpected == []
    return [type(it).__name__ if isinstance(it, ClipserveError) else "ok" for it in results]


async def test_of_those_that_create_one_collection_in_one_gateway_one_does(engine):
    catalog = Catalog(engine)
    for n in range(ROUNDS):
        results = await outcomes(*(catalog.create(new_collection(f"name_{n}")) for _ in range(3)))
        assert sorted(results) == ["CollectionExists", "CollectionExists", "ok"]
    specs = await catalog.all()
    assert [it.name for it in specs] == [f"name_{n}" for n in range(ROUNDS)]
    assert sorted(await engine.tables()) == sorted(it.serving.table for it in specs)
    await catalog.close()


async def test_of_a_collection_and_an_alias_of_one_name_one_is_made(engine):
    catalog = Catalog(engine)
    await catalog.create(new_collection(TARGET))
    for n in range(ROUNDS):
        name = f"name_{n}"
        created, put = await outcomes(catalog.create(new_collection(name)), catalog.put_alias(name, TARGET))
        is_collection = name in {it.name for it in await catalog.all()}
        assert (name in await catalog.aliases()) is not is_collection
        assert (created == "ok", put == "ok") == (is_collection, not is_collection)
    await catalog.close()


async def test_no_alias_outlives_a_drop_that_it_raced(engine):
    catalog = Catalog(engine)
    for n in range(ROUNDS):
        name = f"name_{n}"
        await catalog.create(new_collection(name))
        dropped, put = await outcomes(catalog.drop(name), catalog.put_alias(f"alias_of_{name}", name))
        assert (dropped == "ok") is not (put == "ok")
        if put == "ok":
            assert (await catalog.get(name, fresh=True)).name == name
            continue
        assert f"alias_of_{name}" not in await catalog.aliases()
        with pytest.raises(CollectionNotFound):
            await catalog.get(name, fresh=True)
    await catalog.close()


async def test_label_sets_put_at_once_get_versions_of_their_own(engine):
    sets = LabelSets(engine)
    labels = [LabelSet(names=("cat", word), templates=("{}",)) for word in ("one", "two", "three")]
    for n in range(ROUNDS):
        stored = await asyncio.gather(*(sets.put(f"set_{n}", it) for it in labels))
        versions = [it.ref.version for it, _ in stored]
        assert sorted(versions) == [1, 2, 3]
        for version, wanted in zip(versions, labels, strict=True):
            assert (await sets.get(LabelSetRef(f"set_{n}", version))).labels.names == wanted.names
