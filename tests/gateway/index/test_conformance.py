"""Cases for every engine: the fake one and all real ones."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import secrets

import numpy as np
import pytest
from clipserve_gateway.errors import TableNotFound
from clipserve_gateway.index.values import (
    And,
    Eq,
    In,
    IndexOptions,
    IndexState,
    Not,
    PayloadType,
    Point,
    Range,
    TableSpec,
)

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
FULL = {"label": "cat", "year": -(2**63), "price": 5e-324, "sold": False, "taken": NOW, "tags": ["a", "b"]}
ZEROES = {"label": "", "year": 0, "price": -0.0, "sold": False, "tags": []}
NASTY = [
    "' OR 1=1 --",
    "x'; DROP TABLE c_pets",
    '" or id != "',
    'a\\" or true or "',
    "ends with \\",
    "id in []",
    "{template}",
    "line\nfeed\ttab",
    "ид",
    "🐈",
    "a" * 512,
    "c:\\new\\table",
    "%_*`$?",
    "null",
]
USED: dict[str, TableSpec] = {}
"""One table for each kind of engine: on a Milvus server, making one takes seconds."""


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def point(id: str, seed: int = 0, **payload) -> Point:
    return Point(id, payload, unit(seed))


def new_spec(**changes) -> TableSpec:
    return TableSpec(f"c_pets_{secrets.token_hex(8)}", DIM, SCHEMA, **changes)


@pytest.fixture
async def table(request, engine):
    """An empty table that other tests have used."""
    kind = request.node.callspec.params["opener"]
    if kind not in USED:
        spec = new_spec()
        await engine.create_table(spec)
        USED[kind] = spec
    await engine.delete_where(USED[kind], Not(And((Eq("sold", True), Eq("sold", False)))))
    return USED[kind]


@pytest.fixture
async def new_table(engine):
    """Makes tables that are gone after the test."""
    made = []

    async def make(**changes) -> TableSpec:
        made.append(new_spec(**changes))
        await engine.create_table(made[-1])
        return made[-1]

    yield make
    for spec in made:
        await engine.drop_table(spec.name)


async def hit_ids(engine, table, seed=0, top_k=100, filter=None) -> list[str]:
    hits = await engine.search(
        table, unit(seed), top_k=top_k, filter=filter, with_payload=False, consistent=True
    )
    return [hit.id for hit in hits]


async def all_ids(engine, table, page=100, filter=None) -> list[str]:
    ids, after = [], ""
    while points := await engine.scroll(table, after=after, limit=page, filter=filter):
        assert len(points) <= page
        after = points[-1].id
        ids += [point.id for point in points]
    return ids


async def test_points_come_back_as_they_were(engine, table):
    stored = [Point("full", FULL, unit(1)), Point("bare", {}, unit(2)), Point("zero", ZEROES, unit(3))]
    await engine.upsert(table, stored)
    full, bare, zero = await engine.fetch(table, ["full", "nope", "bare", "zero"], with_embeddings=True)
    assert (full.id, full.payload) == ("full", FULL)
    assert (bare.id, bare.payload) == ("bare", {})
    assert (zero.payload, str(zero.payload["price"])) == (ZEROES, "-0.0")
    np.testing.assert_array_equal(full.embedding, unit(1))
    assert full.embedding.dtype == np.float32
    assert (await engine.fetch(table, ["full"]))[0].embedding is None


async def test_stamps_are_kept_where_a_table_has_them(engine):
    stamped = new_spec(stamped=True)
    await engine.create_table(stamped)
    largest = dataclasses.replace(point("a", 1, year=1), stamp=2**63 - 1)
    await engine.upsert(stamped, [largest, dataclasses.replace(point("b", 2), stamp=5)])
    await engine.upsert(stamped, [dataclasses.replace(point("b", 3), stamp=6)], replace=True)
    assert [point.stamp for point in await engine.fetch(stamped, ["a", "b"])] == [2**63 - 1, 6]
    page = await engine.scroll(stamped, after="", limit=9, with_embeddings=True)
    assert [(point.id, point.stamp, point.payload) for point in page] == [
        ("a", 2**63 - 1, {"year": 1}),
        ("b", 6, {}),
    ]
    np.testing.assert_allclose(page[1].embedding, unit(3), atol=TOLERANCE)
    assert [hit.payload for hit in await engine.search(stamped, unit(1), top_k=1, consistent=True)] == [
        {"year": 1}
    ]
    await engine.drop_table(stamped.name)


async def test_a_point_keeps_where_its_source_is(engine, table):
    uri = "s3://bucket/ü 1.jpg"
    await engine.upsert(table, [Point("a", {}, unit(1), source_uri=uri), point("b")])
    assert [point.source_uri for point in await engine.fetch(table, ["a", "b"])] == [uri, ""]
    assert [point.source_uri for point in await engine.scroll(table, after="", limit=9)] == [uri, ""]


async def test_large_payloads_are_kept(engine, table):
    payload = {"label": "é" * 30_000, "tags": ["x" * 1000] * 30}
    await engine.upsert(table, [Point("large", payload, unit(1))])
    assert (await engine.fetch(table, ["large"]))[0].payload == payload


async def test_an_upsert_replaces_the_point_whole(engine, table):
    await engine.upsert(table, [point("a", 1, label="old", year=1)])
    await engine.upsert(table, [point("a", 2, label="new")])
    [stored] = await engine.fetch(table, ["a"], with_embeddings=True)
    assert stored.payload == {"label": "new"}
    np.testing.assert_array_equal(stored.embedding, unit(2))
    assert await engine.count(table) == 1
    assert await hit_ids(engine, table, 1) == ["a"]


async def test_an_upsert_that_replaces_nothing_adds_what_is_missing(engine, table):
    await engine.upsert(table, [point("a", 1, year=1)])
    await engine.upsert(table, [point("a", 2, year=2), point("b", 2, year=2)], replace=False)
    assert [point.payload["year"] for point in await engine.fetch(table, ["a", "b"])] == [1, 2]


async def test_a_delete_counts_the_points_that_existed(engine, table):
    await engine.upsert(table, [point("a"), point("b")])
    assert await engine.delete(table, ["a", "nope"]) == 1
    assert await engine.delete(table, ["a"]) == 0
    assert await hit_ids(engine, table) == ["b"]
    assert await engine.fetch(table, ["a"]) == []


async def test_a_deleted_point_may_come_again(engine, table):
    await engine.upsert(table, [point("a", 1, year=1)])
    await engine.delete(table, ["a"])
    await engine.upsert(table, [point("a", 2, year=2)])
    assert [point.payload for point in await engine.fetch(table, ["a"])] == [{"year": 2}]
    assert await engine.count(table) == 1


async def test_a_delete_by_filter_takes_what_it_means(engine, table):
    await engine.upsert(table, [point(f"{i:04d}", i, year=i) for i in range(2_500)])
    assert await engine.delete_where(table, Range("year", gte=10)) == 2_490
    assert await all_ids(engine, table) == [f"{i:04d}" for i in range(10)]
    assert await engine.delete_where(table, Eq("year", 99)) == 0


async def test_hits_come_best_first_with_their_cosines(engine, table):
    await engine.upsert(table, [point(str(i), i) for i in range(50)])
    hits = await engine.search(table, unit(7), top_k=10, with_payload=False, consistent=True)
    cosines = {str(i): float(unit(i) @ unit(7)) for i in range(50)}
    assert [hit.id for hit in hits] == sorted(cosines, key=lambda id: -cosines[id])[:10]
    for hit in hits:
        assert hit.score == pytest.approx(cosines[hit.id], abs=TOLERANCE)
        assert -1 <= hit.score <= 1
        assert hit.payload == {}


async def test_equal_scores_come_in_the_order_of_ids(engine, table):
    await engine.upsert(table, [point(id, 1) for id in ("c", "a", "b")])
    assert await hit_ids(engine, table, 1) == ["a", "b", "c"]


async def test_ties_across_the_last_place_go_to_the_first_ids(engine, table):
    ids = [f"{i:03d}" for i in range(200)]
    await engine.upsert(table, [point(id, 1) for id in reversed(ids)])
    assert await hit_ids(engine, table, 1, top_k=5) == ids[:5]


async def test_hits_below_a_score_go_on_where_others_ended(engine, table):
    # Three points of each score.
    await engine.upsert(table, [point(f"{i:03d}", i // 3, year=i) for i in range(60)])
    options = {"with_payload": False, "consistent": True}
    every = await engine.search(table, unit(7), top_k=100, **options)
    pages, below = [], None
    while hits := await engine.search(table, unit(7), top_k=6, below=below, **options):
        pages += hits
        below = hits[-1].score
        assert len({hit.score for hit in hits}) == 2
    assert [hit.id for hit in pages] == [hit.id for hit in every]
    first = every[0].score
    some = await engine.search(table, unit(7), top_k=100, below=first, filter=Range("year", lt=30), **options)
    assert [hit.id for hit in some] == [hit.id for hit in every[3:] if hit.id < "030"]
    assert await engine.search(table, unit(7), top_k=5, below=every[-1].score, **options) == []


async def test_hits_carry_embeddings_when_asked_for(engine, table):
    await engine.upsert(table, [point(str(i), i) for i in range(5)])
    for below in (None, 1.0):
        hits = await engine.search(
            table, unit(9), top_k=5, with_payload=False, with_embeddings=True, below=below, consistent=True
        )
        assert len(hits) == 5
        for hit in hits:
            np.testing.assert_allclose(hit.embedding, unit(int(hit.id)), atol=1e-6)
            assert hit.payload == {}
    [hit] = await engine.search(table, unit(9), top_k=1, consistent=True)
    assert hit.embedding is None


async def test_the_filter_is_applied_before_the_nearest_are_taken(engine, table):
    await engine.upsert(table, [point(str(i), i, year=i) for i in range(50)])
    assert await hit_ids(engine, table, 3, 1, Eq("year", 40)) == ["40"]


async def test_nothing_is_found_in_an_empty_table(engine, table):
    assert await hit_ids(engine, table) == []
    assert await engine.count(table) == 0
    assert await engine.count(table, Eq("year", 1)) == 0
    assert await engine.scroll(table, after="", limit=10) == []
    assert await engine.fetch(table, ["a"]) == []
    assert (await engine.sample(table, 10)).shape == (0, DIM)
    assert await engine.delete(table, ["a"]) == 0


async def test_nothing_is_done_for_no_points(engine, table):
    await engine.upsert(table, [])
    assert await engine.delete(table, []) == 0
    assert await engine.fetch(table, []) == []


async def test_payloads_come_with_hits_when_asked_for(engine, table):
    await engine.upsert(table, [Point("full", FULL, unit(1))])
    [hit] = await engine.search(table, unit(1), top_k=1, consistent=True)
    assert hit.payload == FULL


@pytest.mark.parametrize("text", NASTY)
async def test_text_is_never_syntax(engine, table, text):
    await engine.upsert(table, [point(text, 1, label=text, tags=[text]), point("other", 2, label="x")])
    assert await hit_ids(engine, table, 1, 9, Eq("label", text)) == [text]
    assert await hit_ids(engine, table, 1, 9, In("tags", (text,))) == [text]
    assert await hit_ids(engine, table, 1, 9, Not(Eq("label", text))) == ["other"]
    assert [point.id for point in await engine.fetch(table, [text])] == [text]
    assert [
        point.id for point in await engine.scroll(table, after="", limit=1, filter=Eq("label", text))
    ] == [text]
    assert text not in [point.id for point in await engine.scroll(table, after=text, limit=9)]
    assert await engine.delete(table, [text]) == 1
    assert await engine.count(table) == 1


async def test_scrolling_shows_every_point_once_in_the_order_of_utf8(engine, table):
    ids = [f"{i:03d}" for i in range(95)] + ["a", "B", "é", "🐈", "\ufffd", "ä", "\u00ad", "z" * 512, "ид"]
    await engine.upsert(table, [point(id, 1, year=len(id)) for id in reversed(ids)])
    assert await all_ids(engine, table, 10) == sorted(ids, key=str.encode)
    assert await all_ids(engine, table, 4, Eq("year", 1)) == sorted(
        [id for id in ids if len(id) == 1], key=str.encode
    )


async def test_scrolling_goes_on_behind_a_point_that_is_gone(engine, table):
    await engine.upsert(table, [point(id) for id in "abcdef"])
    page = await engine.scroll(table, after="", limit=3)
    await engine.delete(table, ["c", "d"])
    assert [point.id for point in await engine.scroll(table, after=page[-1].id, limit=3)] == ["e", "f"]


async def test_scrolled_points_carry_embeddings_when_asked_for(engine, table):
    await engine.upsert(table, [point("a", 4)])
    [shown] = await engine.scroll(table, after="", limit=1, with_embeddings=True)
    np.testing.assert_array_equal(shown.embedding, unit(4))


async def test_a_sample_is_made_of_stored_embeddings(engine, table):
    await engine.upsert(table, [point(str(i), i) for i in range(400)])
    sample = await engine.sample(table, 50)
    assert sample.dtype == np.float32
    assert 20 <= len(sample) <= 50
    stored = {unit(i).tobytes() for i in range(400)}
    drawn = {row.tobytes() for row in sample}
    assert len(drawn) == len(sample)
    assert drawn <= stored
    assert len(await engine.sample(table, 1_000)) == 400


async def test_writers_at_the_same_time_lose_nothing(engine, table):
    await asyncio.gather(*(engine.upsert(table, [point(f"{i}-{j}", i) for j in range(4)]) for i in range(32)))
    assert await engine.count(table) == 128
    assert len(await all_ids(engine, table)) == 128


async def test_writers_of_one_id_leave_one_point(engine, table):
    await asyncio.gather(*(engine.upsert(table, [point("a", i, year=i)]) for i in range(16)))
    assert await engine.count(table) == 1
    [stored] = await engine.fetch(table, ["a"], with_embeddings=True)
    np.testing.assert_array_equal(stored.embedding, unit(stored.payload["year"]))


async def test_a_cancelled_upsert_leaves_the_others_whole(engine, table):
    calls = [asyncio.ensure_future(engine.upsert(table, [point(str(i), i)])) for i in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    await asyncio.wait(calls)
    stored = {point.id for point in await engine.fetch(table, list("0123456789"))}
    assert stored >= set("012456789")


async def test_ten_thousand_points_at_once(engine, table):
    await engine.upsert(table, [point(f"{i:05d}", i % 100, year=i) for i in range(10_000)])
    assert await engine.count(table) == 10_000
    assert await engine.count(table, In("year", (5, 77, 10_001))) == 2
    assert await hit_ids(engine, table, 7, 3) == ["00007", "00107", "00207"]
    assert (await all_ids(engine, table, 3_000))[-1] == "09999"


async def test_an_engine_that_is_opened_later_sees_the_points(opener, engine, table):
    await engine.upsert(table, [point("a", 1, year=1)])
    other = opener()
    try:
        assert [point.payload for point in await other.fetch(table, ["a"])] == [{"year": 1}]
        await other.upsert(table, [point("b", 2)])
        assert await engine.count(table) == 2
        assert await hit_ids(engine, table, 2, 1) == ["b"]
    finally:
        if other is not engine:
            await other.close()


async def test_an_exact_table_has_no_index_and_finds_the_same(engine, new_table):
    exact = await new_table(index=IndexOptions(exact=True))
    await engine.upsert(exact, [point(str(i), i) for i in range(300)])
    await engine.optimize(exact)
    status = await engine.status(exact)
    assert (status.points, status.indexed, status.state) == (300, 0, IndexState.NONE)
    cosines = {str(i): float(unit(i) @ unit(7)) for i in range(300)}
    assert await hit_ids(engine, exact, 7, 10) == sorted(cosines, key=lambda id: -cosines[id])[:10]


async def test_status_counts_the_points_and_those_in_the_index(engine, table):
    await engine.upsert(table, [point(str(i), i) for i in range(30)])
    status = await engine.status(table)
    assert status.points == 30
    assert 0 <= status.indexed <= 30
    assert status.state in IndexState


async def test_a_dropped_table_is_gone_from_every_call(engine, new_table):
    spec = await new_table()
    await engine.upsert(spec, [point("a")])
    assert spec.name in await engine.tables()
    await engine.drop_table(spec.name)
    await engine.drop_table(spec.name)
    assert spec.name not in await engine.tables()
    for call in (
        engine.upsert(spec, [point("a")]),
        engine.upsert(spec, [point("a")], replace=False),
        engine.delete(spec, ["a"]),
        engine.delete_where(spec, Eq("year", 1)),
        engine.fetch(spec, ["a"]),
        engine.scroll(spec, after="", limit=1),
        engine.search(spec, unit(0), top_k=1),
        engine.sample(spec, 1),
        engine.count(spec),
        engine.status(spec),
        engine.optimize(spec),
    ):
        with pytest.raises(TableNotFound):
            await call


async def test_documents_change_only_in_the_version_that_was_read(engine, key):
    name = key + "a"
    assert await engine.get_document(name) is None
    assert await engine.put_document(name, b"one", version=0)
    assert not await engine.put_document(name, b"other", version=0)
    stored = await engine.get_document(name)
    assert (stored.key, stored.value, stored.version) == (name, b"one", 1)
    assert await engine.put_document(name, b"two", version=1)
    assert not await engine.put_document(name, b"late", version=1)
    assert not await engine.delete_document(name, version=1)
    assert (await engine.get_document(name)).value == b"two"
    assert await engine.delete_document(name, version=2)
    assert await engine.get_document(name) is None
    assert not await engine.delete_document(name, version=2)
    assert await engine.put_document(name, b"again", version=0)


@pytest.mark.parametrize("size", [0, 45_000, 45_001, 1_000_000])
async def test_documents_hold_bytes_of_any_size(engine, key, size):
    value = np.random.default_rng(size).bytes(size)
    assert await engine.put_document(key, value, version=0)
    assert (await engine.get_document(key)).value == value
    assert [document.value for document in await engine.documents(key)] == [value]
    assert await engine.put_document(key, b"small", version=1)
    assert (await engine.get_document(key)).value == b"small"


async def test_documents_are_listed_by_their_prefix(engine, key):
    names = [f"{key}x/{name}" for name in ("b", "a", "é", "🐈", "%", "_", "' or 1=1", 'q"\\')]
    for name in [*names, f"{key}x", f"{key}y/a"]:
        assert await engine.put_document(name, name.encode(), version=0)
    listed = await engine.documents(f"{key}x/")
    assert [document.key for document in listed] == sorted(names)
    assert all(document.value == document.key.encode() for document in listed)
    assert {document.version for document in listed} == {1}


async def test_of_writers_that_read_one_version_one_wins(engine, key):
    wins = await asyncio.gather(*(engine.put_document(key, b"%d" % i, version=0) for i in range(8)))
    assert sum(wins) == 1
    assert (await engine.get_document(key)).value == b"%d" % wins.index(True)


async def test_a_cancelled_call_leaves_the_engine_working(engine, table, key):
    for call in (engine.search(table, unit(0), top_k=1), engine.get_document(key), engine.count(table)):
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await engine.upsert(table, [point("a", 1)])
    assert await hit_ids(engine, table, 1) == ["a"]


async def test_a_table_keeps_the_facts_that_it_was_made_with(engine, key):
    if engine.name == "milvus" and engine._options.lite:
        pytest.skip("milvus-lite keeps no description of a collection")
    name = "facts_" + key.split("/")[1]
    await engine.create_table(TableSpec(name, 4, {}), b'{"name": "x", "schema": {}}')
    assert await engine.table_facts(name) == b'{"name": "x", "schema": {}}'
    await engine.drop_table(name)
