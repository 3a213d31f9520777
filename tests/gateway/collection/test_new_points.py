"""Points that must be new: of several writers at once, one gets the id, and nobody is overwritten."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from clipserve_gateway.collection.points import NewPoint
from clipserve_gateway.collection.spec import MigrationState
from clipserve_gateway.errors import PointExists
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.settings import Settings

from testing.domain import OTHER, Domain, two_models
from testing.fakes import fake_models
from testing.memory_engine import MemoryEngine

IDS = [f"{i:03}" for i in range(12)]
WRITERS = 4


@pytest.fixture(params=["memory", "lance", pytest.param("milvus", marks=pytest.mark.slow)])
async def gateways(request, tmp_path, encoder, pool):
    """Two gateways on one store; on Milvus, where one process must decide, they share an engine."""
    if request.param == "memory":
        engines = [MemoryEngine()] * 2
    elif request.param == "lance":
        engines = [LanceEngine(str(tmp_path / "store")) for _ in range(2)]
    else:
        uri = request.getfixturevalue("milvus").new_database()
        engines = [open_engine(uri, MilvusOptions("", consistency="strong"))] * 2
    made = []
    for engine in engines:
        models = await fake_models(two_models(), default="fake")
        embedder = Embedder(models, encoder, pool, Settings().limits, Metrics(), fast_decode=True)
        made.append(Domain(engine, models, embedder))
    yield made
    for domain in made:
        await domain.close()
    for engine in dict.fromkeys(engines):
        await engine.close()


def points(writer: int, *, new: bool = True) -> list[NewPoint]:
    return [NewPoint(id, f"{id} by {writer}", {"year": writer}, must_be_new=new) for id in IDS]


async def stored(domain: Domain, *, name: str = "pets") -> dict[str, int]:
    spec = await domain.catalog.get(name, fresh=True)
    rows = await domain.engine.scroll(spec.table, after="", limit=999)
    return {it.id: it.payload["year"] for it in rows}


async def test_of_writers_at_once_each_id_has_one_and_the_others_are_told(gateways):
    await gateways[0].create()
    outcomes = await asyncio.gather(*(gateways[n % 2].upsert("pets", *points(n)) for n in range(WRITERS)))
    stored_points = await stored(gateways[0])
    assert sorted(stored_points) == IDS
    for writer, statuses in enumerate(outcomes):
        for id, status in zip(IDS, statuses, strict=True):
            assert (status is None) is (stored_points[id] == writer), (id, writer)
            assert status is None or (isinstance(status, PointExists) and status.field == "id")


async def test_a_point_that_is_there_stays_and_others_of_the_call_are_written(gateways):
    domain = gateways[0]
    await domain.create()
    await domain.upsert("pets", NewPoint("000", "first", {"year": 9}))
    mixed = [*points(1)[:3], NewPoint("003", "plain", {"year": 1})]
    statuses = await domain.upsert("pets", *mixed)
    assert [type(it).__name__ for it in statuses] == ["PointExists", "NoneType", "NoneType", "NoneType"]
    assert await stored(domain) == {"000": 9, "001": 1, "002": 1, "003": 1}
    assert await domain.upsert("pets", NewPoint("000", "replaced", {"year": 5})) == [None]
    assert (await stored(domain))["000"] == 5


async def test_tables_of_earlier_releases_are_compared_by_what_they_hold(gateways):
    domain = gateways[0]
    spec = await domain.create()
    old = dataclasses.replace(spec.serving, table="c_pets_old", stamped=False)
    await domain.engine.create_table(spec.table_of(old))
    await domain.catalog.update("pets", lambda it: dataclasses.replace(it, serving=old))
    assert await domain.upsert("pets", *points(1)[:2]) == [None, None]
    statuses = await domain.upsert("pets", *points(2)[:3])
    assert [type(it).__name__ for it in statuses] == ["PointExists", "PointExists", "NoneType"]
    assert await stored(domain) == {"000": 1, "001": 1, "002": 2}


async def test_while_a_collection_moves_both_models_have_the_same_points(gateways):
    domain = gateways[0]
    if not domain.engine.keeps_sources:
        pytest.skip("this engine keeps no sources to embed anew")
    await domain.create(keep_sources=True)
    await domain.upsert("pets", NewPoint("000", "first", {"year": 9}))
    await domain.migrator.start("pets", OTHER)
    while (await domain.catalog.get("pets", fresh=True)).migration.state is not MigrationState.READY:
        await asyncio.sleep(0.01)
    statuses = await domain.upsert("pets", *points(1)[:3])
    assert [type(it).__name__ for it in statuses] == ["PointExists", "NoneType", "NoneType"]
    spec = await domain.catalog.get("pets", fresh=True)
    for generation in spec.generations:
        rows = await domain.engine.scroll(spec.table_of(generation), after="", limit=9)
        assert {it.id: it.payload["year"] for it in rows} == {"000": 9, "001": 1, "002": 1}
