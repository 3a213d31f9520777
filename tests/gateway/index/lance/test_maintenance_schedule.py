"""A table stays fast: indexes when they are worth it, files and segments merged, old versions removed."""

from __future__ import annotations

import datetime as dt
import os

import numpy as np
import pytest
from clipserve_gateway.index.lance import indexes, lease, maintenance
from clipserve_gateway.index.lance import table as table_module
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.lance.maintenance import newest_portion
from clipserve_gateway.index.values import Eq, IndexOptions, IndexState, PayloadType, Point, Source, TableSpec

DIM = 16
TABLE = TableSpec("points", DIM, {"n": PayloadType.INT}, keep_sources=True)
FROM = 400


def vectors(count, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def points(names, seed=0):
    pairs = zip(names, vectors(len(names), seed), strict=True)
    return [Point(name, {"n": n}, vector) for n, (name, vector) in enumerate(pairs)]


@pytest.fixture(autouse=True)
def early_indexes(monkeypatch):
    monkeypatch.setattr(indexes, "VECTOR_INDEX_FROM_ROWS", FROM)
    monkeypatch.setattr(table_module, "VECTOR_INDEX_FROM_ROWS", FROM)
    monkeypatch.setattr(indexes, "ID_INDEX_FROM_ROWS", 100)
    monkeypatch.setattr(maintenance, "KEEP_VERSIONS", dt.timedelta(milliseconds=1))


@pytest.fixture
async def engine(tmp_path):
    engine = LanceEngine(str(tmp_path / "store"))
    yield engine
    await engine.close()


async def test_a_table_grows_into_its_index(engine):
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, points([str(n) for n in range(FROM - 1)]))
    assert (await engine.status(TABLE)).state is IndexState.NONE
    await engine.upsert(TABLE, points(["last"], seed=1))
    assert (await engine.status(TABLE)).state is IndexState.BUILDING
    await engine.optimize(TABLE)
    status = await engine.status(TABLE)
    assert (status.points, status.indexed, status.state) == (FROM, FROM, IndexState.READY)
    await engine.upsert(TABLE, points(["new"], seed=2))
    status = await engine.status(TABLE)
    assert (status.points, status.indexed, status.state) == (FROM + 1, FROM, IndexState.READY)


async def test_an_exact_table_gets_no_vector_index(engine):
    table = TableSpec("exact", DIM, {}, index=IndexOptions(exact=True))
    await engine.create_table(table)
    await engine.upsert(
        table, [Point(point.id, {}, point.embedding) for point in points([str(n) for n in range(FROM)])]
    )
    await engine.optimize(table)
    status = await engine.status(table)
    assert (status.points, status.indexed, status.state) == (FROM, 0, IndexState.NONE)


@pytest.mark.slow
async def test_a_table_that_changes_all_the_time_stays_small_and_right(engine, tmp_path):
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, points([str(n) for n in range(1000)]))
    await engine.optimize(TABLE)
    live = {str(n): vector for n, vector in enumerate(vectors(1000))}
    for turn in range(12):
        names = [str(n) for n in range(turn * 50, turn * 50 + 30)] + [f"new-{turn}-{n}" for n in range(30)]
        await engine.upsert(TABLE, points(names, seed=turn + 1))
        live |= dict(zip(names, vectors(60, turn + 1), strict=True))
        deleted = [str(n) for n in range(turn * 50 + 30, turn * 50 + 40)]
        assert await engine.delete(TABLE, deleted) == 10
        for id in deleted:
            del live[id]
        await engine.optimize(TABLE)
    names, matrix, recalled = list(live), np.stack(list(live.values())), 0
    for query in vectors(50, seed=99):
        best = {names[i] for i in np.argsort(-(matrix @ query))[:10]}
        recalled += len(best & {hit.id for hit in await engine.search(TABLE, query, top_k=10)})
    assert recalled / 500 >= 0.95
    assert await engine.count(TABLE) == len(live)
    folder = tmp_path / "store" / "points.lance"
    assert len(list((folder / "_versions").iterdir())) < 30
    assert len(list((folder / "data").iterdir())) < 20
    dataset = maintenance.open_dataset(str(folder), None)
    for description in dataset.describe_indices():
        assert len(description.segments) <= 6


async def test_sources_are_not_merged_into_files_beyond_the_limit(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "FILE_BYTES", 1_000_000)
    await engine.create_table(TABLE)
    for n in range(40):
        [point] = points([f"{n:02}"], seed=n)
        source = Source("image", os.urandom(100_000))
        await engine.upsert(TABLE, [Point(point.id, point.payload, point.embedding, source)])
    await engine.optimize(TABLE)
    sizes = [path.stat().st_size for path in (tmp_path / "store/points.lance/data").iterdir()]
    assert len(sizes) < 40
    assert max(sizes) < 2_000_000
    assert len(await engine.fetch(TABLE, [f"{n:02}" for n in range(40)])) == 40


async def test_while_another_process_maintains_a_table_this_one_does_not(engine):
    await engine.open()
    mine = lease.Lease(engine._open_leases, "points")
    other = lease.Lease(engine._open_leases, "points")
    async with mine.held() as held, mine.held() as again:
        assert held
        assert again
        async with other.held() as both:
            assert not both
    async with other.held() as free:
        assert free


async def test_the_lease_of_a_killed_process_expires(engine, monkeypatch):
    await engine.open()
    monkeypatch.setattr(lease, "SECONDS", -1.0)
    killed = lease.Lease(engine._open_leases, "points")
    other = lease.Lease(engine._open_leases, "points")
    async with killed.held(), other.held() as taken:
        assert taken


@pytest.mark.parametrize(
    ("sizes", "least", "portion"),
    [
        ([], 0, 0),
        ([100], 0, 1),
        ([100, 10, 1, 1], 0, 2),
        ([100, 10, 5, 3, 2], 0, 1),
        ([100, 10, 5, 3, 3], 0, 4),
        ([100, 1, 1], 0, 2),
        ([100, 10, 1], 10, 2),
    ],
)
def test_what_is_merged_is_no_larger_than_what_follows_it(sizes, least, portion):
    assert newest_portion(sizes, least) == portion


async def test_pages_stay_right_while_points_come_and_go(engine):
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, points([f"{n:03}" for n in range(300)]))
    assert (await engine.scroll(TABLE, after="", limit=10))[-1].id == "009"
    await engine.delete(TABLE, ["010", "011", "019"])
    await engine.upsert(TABLE, points(["0105", "0106"]))
    page = [point.id for point in await engine.scroll(TABLE, after="009", limit=10)]
    assert page == ["0105", "0106", *(f"{n:03}" for n in range(12, 19)), "020"]
    filtered = await engine.scroll(TABLE, after="020", limit=10, filter=Eq("n", 250))
    assert [point.id for point in filtered] == ["250"]


async def test_a_sample_is_spread_over_the_table(engine):
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, points([f"{n:03}" for n in range(300)]))
    sample = await engine.sample(TABLE, 30)
    positions = [int(np.argmax(vectors(300) @ vector)) for vector in sample]
    assert len(set(positions)) == 30
    assert min(positions) < 30
    assert max(positions) >= 270
    assert (await engine.sample(TABLE, 1000)).shape == (300, DIM)
