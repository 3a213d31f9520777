"""Several processes, like several gateways, use one store on disk or object storage."""

from __future__ import annotations

import numpy as np
import pytest
from clipserve_gateway.errors import TableNotFound
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import Eq, IndexState, Point, Source, TableSpec, TableStatus

from testing.engine_process import SHARED, start
from testing.s3_server import BUCKET, s3_server

VECTOR = np.array([1, 0, 0, 0], np.float32)


@pytest.fixture(scope="module")
def s3_environment():
    with s3_server() as environment:
        yield environment


@pytest.fixture
def on_s3(s3_environment, monkeypatch, request):
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{request.node.name}"


@pytest.fixture
def on_disk(tmp_path):
    return str(tmp_path / "store")


async def all_ids(engine, table=SHARED):
    ids, after = [], ""
    while page := await engine.scroll(table, after=after, limit=100):
        ids += [point.id for point in page]
        after = page[-1].id
    return ids


@pytest.mark.slow
@pytest.mark.parametrize(("store", "processes", "times"), [("on_disk", 4, 25), ("on_s3", 2, 12)])
async def test_no_increment_of_a_counter_is_lost(request, store, processes, times):
    uri = request.getfixturevalue(store)
    running = [start("increment", uri, "counter", times) for _ in range(processes)]
    assert [process.wait() for process in running] == [0] * processes
    engine = LanceEngine(uri)
    counter = await engine.get_document("counter")
    assert counter is not None
    assert (counter.value, counter.version) == (str(processes * times).encode(), processes * times)
    await engine.close()


@pytest.mark.parametrize(
    ("store", "points"), [("on_disk", 40), pytest.param("on_s3", 20, marks=pytest.mark.slow)]
)
async def test_writers_side_by_side_lose_no_point_and_write_no_id_twice(request, store, points):
    uri = request.getfixturevalue(store)
    engine = LanceEngine(uri)
    await engine.create_table(SHARED)
    running = [start("write", uri, f"writer{n}", points) for n in range(3)]
    acknowledged = [id for process in running for id in process.communicate()[0].split()]
    assert [process.returncode for process in running] == [0] * 3
    assert len(acknowledged) == 3 * points
    stored = await all_ids(engine)
    assert stored == sorted(set(acknowledged))
    assert await engine.count(SHARED) == len(stored)
    await engine.close()


async def test_the_life_of_a_table_on_object_storage(on_s3):
    table = TableSpec("pets-1", 4, SHARED.schema, keep_sources=True)
    engine, other = LanceEngine(on_s3), LanceEngine(on_s3)
    await engine.create_table(table)
    source = Source("image", bytes(range(256)) * 100)
    await engine.upsert(table, [Point(str(n), {"n": n}, VECTOR, source) for n in range(6000)])
    assert await other.tables() == ["pets-1"]
    assert [point.id for point in await other.scroll(table, after="599", limit=2)] == ["5990", "5991"]
    [point] = await other.fetch(table, ["7"], with_embeddings=True, with_sources=True)
    assert (point.payload, point.source) == ({"n": 7}, source)
    assert [hit.id for hit in await other.search(table, VECTOR, top_k=1, filter=Eq("n", 4321))] == ["4321"]
    assert await other.delete(table, ["0", "nope"]) == 1
    await engine.optimize(table)
    assert await engine.status(table) == TableStatus(5999, 0, IndexState.NONE)
    await other.drop_table("pets-1")
    with pytest.raises(TableNotFound):
        await engine.count(table)
    await engine.close()
    await other.close()


async def test_a_document_changed_by_another_process_is_read_anew(on_disk):
    engine, other = LanceEngine(on_disk), LanceEngine(on_disk)
    assert await engine.get_document("a") is None
    for version, value in enumerate([b"first", b"second"]):
        assert await other.put_document("a", value, version=version)
        document = await engine.get_document("a")
        assert document is not None
        assert document.value == value
    assert not await engine.put_document("a", b"late", version=1)
    assert await other.delete_document("a", version=2)
    assert await engine.get_document("a") is None
    await engine.close()
    await other.close()


async def test_a_table_dropped_by_another_process_is_not_found_by_any_call(on_disk):
    engine, other = LanceEngine(on_disk), LanceEngine(on_disk)
    await engine.create_table(SHARED)
    await engine.upsert(SHARED, [Point("a", {}, VECTOR)])
    await other.drop_table("shared")
    for call in (
        engine.upsert(SHARED, [Point("b", {}, VECTOR)]),
        engine.upsert(SHARED, [Point("b", {}, VECTOR)], replace=False),
        engine.delete(SHARED, ["a"]),
        engine.delete_where(SHARED, Eq("n", 1)),
        engine.fetch(SHARED, ["a"]),
        engine.scroll(SHARED, after="", limit=1),
        engine.search(SHARED, VECTOR, top_k=1),
        engine.sample(SHARED, 1),
        engine.count(SHARED),
        engine.status(SHARED),
        engine.optimize(SHARED),
    ):
        with pytest.raises(TableNotFound):
            await call
    assert await engine.tables() == []
    await engine.close()
    await other.close()
