"""What every engine does: the same cases on the fake and on the real one."""

from __future__ import annotations

import asyncio
import datetime as dt

import numpy as np
import pytest
from clipserve_gateway.errors import CollectionExists, CollectionNotFound
from clipserve_gateway.index import open_engine
from clipserve_gateway.types import CollectionSpec, Eq, In, Not, PayloadType, Point
from support.memory_engine import MemoryEngine

DIM = 8
TOLERANCE = 1e-5
"""Of cosines: engines sum float32 products in different orders."""
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.timezone.utc)
SCHEMA = {
    "label": PayloadType.STRING,
    "year": PayloadType.INT,
    "price": PayloadType.DOUBLE,
    "sold": PayloadType.BOOL,
    "taken": PayloadType.TIMESTAMP,
    "tags": PayloadType.STRING_LIST,
}
FULL = {"label": "cat", "year": -(2**63), "price": 1e-300, "sold": False, "taken": NOW, "tags": ["a", "b"]}
NASTY = ["' OR 1=1 --", "x'; DROP TABLE c_pets", "ид", "🐈", "a" * 512, "c:\\new\\table", '"quoted"', "%_*`"]


def spec(name: str = "pets", **changes) -> CollectionSpec:
    facts = {"model": "fake", "fingerprint": "f" * 64, "dim": DIM, "schema": SCHEMA, "create_time": NOW}
    return CollectionSpec(name, **(facts | changes))


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def point(id: str, seed: int = 0, **payload) -> Point:
    return Point(id, payload, unit(seed))


@pytest.fixture(params=["memory", "lance"])
async def engine(request, tmp_path):
    engine = MemoryEngine() if request.param == "memory" else open_engine(str(tmp_path / "data"))
    await engine.create(spec())
    yield engine
    await engine.close()


async def ids(engine, seed=0, top_k=100, filter=None):
    found = await engine.search("pets", unit(seed), top_k=top_k, filter=filter, with_payload=False)
    return [hit.id for hit in found]


async def test_a_collection_is_what_it_was_made_as(engine):
    assert await engine.get("pets") == spec()
    assert list((await engine.get("pets")).schema) == list(SCHEMA)


async def test_a_taken_name_is_refused_and_the_points_stay(engine):
    await engine.upsert("pets", [point("a")])
    with pytest.raises(CollectionExists):
        await engine.create(spec())
    assert await engine.count("pets", None) == 1


async def test_of_two_creates_at_once_one_wins(engine):
    found = await asyncio.gather(
        *(engine.create(spec("twins", model=f"m{i}")) for i in range(2)), return_exceptions=True
    )
    assert sorted(map(type, found), key=str) == sorted([type(None), CollectionExists], key=str)
    assert [it.name for it in await engine.collections()] == ["pets", "twins"]


async def test_what_does_not_exist_is_not_found(engine):
    for call in (
        engine.get("nope"),
        engine.drop("nope"),
        engine.upsert("nope", [point("a")]),
        engine.delete("nope", ["a"]),
        engine.fetch("nope", ["a"], with_embeddings=False),
        engine.search("nope", unit(0), top_k=1, filter=None, with_payload=True),
        engine.count("nope", None),
    ):
        with pytest.raises(CollectionNotFound):
            await call


async def test_a_dropped_collection_is_gone_and_its_name_free(engine):
    await engine.upsert("pets", [point("a")])
    await engine.drop("pets")
    assert await engine.collections() == []
    await engine.create(spec(dim=3, schema={}))
    assert await engine.count("pets", None) == 0
    await engine.upsert("pets", [Point("b", {}, unit(0)[:3])])
    assert await engine.count("pets", None) == 1


async def test_points_come_back_as_they_were(engine):
    await engine.upsert("pets", [Point("full", FULL, unit(1)), Point("bare", {}, unit(2))])
    full, bare = await engine.fetch("pets", ["full", "nope", "bare"], with_embeddings=True)
    assert (full.id, full.payload) == ("full", FULL)
    assert (bare.id, bare.payload) == ("bare", {})
    np.testing.assert_array_equal(full.embedding, unit(1))
    assert (await engine.fetch("pets", ["full"], with_embeddings=False))[0].embedding is None


async def test_an_upsert_replaces_the_point_whole(engine):
    await engine.upsert("pets", [point("a", 1, label="old", year=1)])
    await engine.upsert("pets", [point("a", 2, label="new")])
    [found] = await engine.fetch("pets", ["a"], with_embeddings=True)
    assert found.payload == {"label": "new"}
    np.testing.assert_array_equal(found.embedding, unit(2))
    assert await engine.count("pets", None) == 1


async def test_a_delete_counts_the_points_that_existed(engine):
    await engine.upsert("pets", [point("a"), point("b")])
    assert await engine.delete("pets", ["a", "nope"]) == 1
    assert await engine.delete("pets", ["a"]) == 0
    assert await ids(engine) == ["b"]


async def test_hits_come_best_first_with_their_cosines(engine):
    await engine.upsert("pets", [point(str(i), i) for i in range(50)])
    found = await engine.search("pets", unit(7), top_k=10, filter=None, with_payload=False)
    cosines = {str(i): float(unit(i) @ unit(7)) for i in range(50)}
    assert [hit.id for hit in found] == sorted(cosines, key=lambda id: -cosines[id])[:10]
    for hit in found:
        assert hit.score == pytest.approx(cosines[hit.id], abs=TOLERANCE)
        assert -1 <= hit.score <= 1


async def test_equal_scores_come_in_the_order_of_ids(engine):
    await engine.upsert("pets", [point(id, 1) for id in ("c", "a", "b")])
    assert await ids(engine, 1) == ["a", "b", "c"]


async def test_the_filter_is_applied_before_the_nearest_are_taken(engine):
    await engine.upsert("pets", [point(str(i), i, year=i) for i in range(50)])
    assert await ids(engine, 3, 1, Eq("year", 40)) == ["40"]


async def test_nothing_is_found_in_an_empty_collection(engine):
    assert await ids(engine) == []
    assert await engine.count("pets", Eq("year", 1)) == 0


async def test_payloads_come_with_hits_when_asked_for(engine):
    await engine.upsert("pets", [Point("full", FULL, unit(1))])
    [hit] = await engine.search("pets", unit(1), top_k=1, filter=None, with_payload=True)
    assert hit.payload == FULL


@pytest.mark.parametrize("text", NASTY)
async def test_text_is_never_syntax(engine, text):
    await engine.upsert("pets", [point(text, 1, label=text, tags=[text]), point("other", 2, label="x")])
    assert await ids(engine, 1, 9, Eq("label", text)) == [text]
    assert await ids(engine, 1, 9, In("tags", (text,))) == [text]
    assert await ids(engine, 1, 9, Not(Eq("label", text))) == ["other"]
    assert [it.id for it in await engine.fetch("pets", [text], with_embeddings=False)] == [text]
    assert await engine.delete("pets", [text]) == 1
    assert await engine.count("pets", None) == 1


async def test_writers_at_the_same_time_lose_nothing(engine):
    await asyncio.gather(
        *(engine.upsert("pets", [point(f"{i}-{j}", i) for j in range(4)]) for i in range(32))
    )
    assert await engine.count("pets", None) == 128


async def test_a_cancelled_upsert_leaves_the_others_whole(engine):
    calls = [asyncio.ensure_future(engine.upsert("pets", [point(str(i), i)])) for i in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    await asyncio.wait(calls)
    stored = {it.id for it in await engine.fetch("pets", list("0123456789"), with_embeddings=False)}
    assert stored >= set("012456789")


async def test_ten_thousand_points_at_once(engine):
    await engine.upsert("pets", [point(str(i), i % 100, year=i) for i in range(10_000)])
    assert await engine.count("pets", None) == 10_000
    assert await engine.count("pets", In("year", (5, 77, 10_001))) == 2
