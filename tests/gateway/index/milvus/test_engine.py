"""Cases of Milvus alone: servers that stop and come back, and values that it cannot hold."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from pathlib import Path

import numpy as np
import pytest
from clipserve_gateway.errors import InvalidInput, InvalidPayload, StorageUnavailable
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.milvus.options import MilvusOptions, parse_milvus_uri
from clipserve_gateway.index.milvus.rows import MAX_FIELDS, MAX_LIST
from clipserve_gateway.index.values import PayloadType, Point, TableSpec
from clipserve_gateway.local.ports import free_ports

from testing.milvus_server import MilvusServer

VECTOR = np.array([1, 0, 0, 0], np.float32)


def spec(**changes) -> TableSpec:
    facts = {"dim": 4, "schema": {"n": PayloadType.INT, "tags": PayloadType.STRING_LIST}} | changes
    return TableSpec(f"c_test_{secrets.token_hex(8)}", **facts)


def point(id: str, n: int = 0) -> Point:
    return Point(id, {"n": n}, VECTOR)


@pytest.fixture
async def engine(milvus):
    engine = open_engine(milvus.uri, MilvusOptions("", timeout=3))
    yield engine
    await engine.close()


@pytest.fixture
def own_server():
    """A server that may be killed."""
    with tempfile.TemporaryDirectory(prefix="clipserve-milvus-", ignore_cleanup_errors=True) as folder:
        server = MilvusServer(Path(folder))
        server.start()
        yield server
        server.kill()


async def until_back(engine, table: TableSpec) -> int:
    """The count of a table, as soon as the server answers."""
    for _ in range(600):
        with contextlib.suppress(StorageUnavailable):
            return await engine.count(table)
        await asyncio.sleep(0.1)
    raise AssertionError("the engine does not find its server again")


@pytest.mark.slow
async def test_a_killed_server_that_comes_back_is_found_again_with_all_that_was_acknowledged(own_server):
    engine = open_engine(own_server.uri, MilvusOptions("", timeout=3))
    table = spec()
    await engine.create_table(table)
    acknowledged = set()

    async def write() -> None:
        for i in range(100_000):
            await engine.upsert(table, [point(f"{i}-{j}", i) for j in range(8)])
            acknowledged.update(f"{i}-{j}" for j in range(8))

    writer = asyncio.ensure_future(write())
    while len(acknowledged) < 400:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(own_server.kill)
    with pytest.raises(StorageUnavailable):
        await writer
    with pytest.raises(StorageUnavailable):
        await engine.count(table)
    await asyncio.to_thread(own_server.start)
    # Writes in progress may be lost; acknowledged ones must not.
    assert await until_back(engine, table) >= len(acknowledged)
    stored = {point.id: point.payload for point in await engine.fetch(table, sorted(acknowledged))}
    assert stored == {id: {"n": int(id.split("-")[0])} for id in acknowledged}
    await engine.upsert(table, [point("after")])
    hits = await engine.search(table, VECTOR, top_k=1, consistent=True)
    assert hits[0].score == pytest.approx(1)
    await engine.close()


async def test_where_no_server_listens_callers_are_told_and_soon_at_once():
    engine = open_engine(f"milvus://127.0.0.1:{free_ports(0)[0]}", MilvusOptions("", timeout=0.5))
    try:
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await engine.open()
        with pytest.raises(StorageUnavailable, match="a moment ago"):
            await engine.get_document("a")
    finally:
        await engine.close()


async def test_sources_are_not_kept(engine):
    with pytest.raises(InvalidInput) as caught:
        await engine.create_table(spec(keep_sources=True))
    assert caught.value.field == "keep_sources"


async def test_schemas_are_as_wide_as_milvus_allows_and_no_wider(engine):
    widest = spec(schema={f"f{i}": PayloadType.STRING_LIST for i in range(MAX_FIELDS)})
    await engine.create_table(widest)
    payload = {f"f{i}": [str(i)] for i in range(MAX_FIELDS)}
    await engine.upsert(widest, [Point("a", payload, VECTOR)])
    assert (await engine.fetch(widest, ["a"]))[0].payload == payload
    await engine.drop_table(widest.name)
    with pytest.raises(InvalidInput) as caught:
        await engine.create_table(spec(schema={f"f{i}": PayloadType.INT for i in range(MAX_FIELDS + 1)}))
    assert caught.value.field == "schema"


@pytest.mark.parametrize("tags", [["a"] * (MAX_LIST + 1), ["é" * 40_000]])
def test_what_milvus_cannot_hold_is_told_before_it_is_written(tags):
    table = spec()
    engine = open_engine("milvus://127.0.0.1:1")
    with pytest.raises(InvalidPayload) as caught:
        engine.check(table, Point("a", {"tags": tags}, VECTOR))
    assert caught.value.field == 'payload["tags"]'
    engine.check(table, Point("a", {"tags": ["a"] * MAX_LIST}, VECTOR))


async def test_points_of_more_bytes_than_a_message_holds_are_written_in_parts(engine):
    table = spec(schema={"text": PayloadType.STRING})
    await engine.create_table(table)
    payload = {"text": "x" * 60_000}
    await engine.upsert(table, [Point(f"{i:04d}", payload, VECTOR) for i in range(1_200)])
    assert await engine.count(table) == 1_200
    assert (await engine.fetch(table, ["1199"]))[0].payload == payload
    await engine.drop_table(table.name)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("milvus://db:19530", ("http://db:19530", "")),
        ("milvus://db:19530/photos", ("http://db:19530", "photos")),
        ("milvuss://db:19530/photos", ("https://db:19530", "photos")),
        ("milvus-lite:/tmp/a.db", ("/tmp/a.db", "")),
        ("s3://bucket/store", None),
        ("data", None),
        ("/data/milvus://", None),
    ],
)
def test_the_uri_says_which_engine_it_is(uri, expected):
    assert parse_milvus_uri(uri) == expected
