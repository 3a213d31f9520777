"""No file holds deleted, replaced or dropped points: their bytes are searched for on disk and on S3."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from pathlib import Path

import boto3
import numpy as np
import pytest
from clipserve_gateway.index.lance import engine as engine_module
from clipserve_gateway.index.lance import erase, indexes, maintenance
from clipserve_gateway.index.lance import table as table_module
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.lance.maintenance_schedule import TableMaintenance
from clipserve_gateway.index.values import Eq, PayloadType, Point, Source, TableSpec

from testing.s3_server import s3_server

DIM, ROWS = 16, 400
TABLE = TableSpec(
    "points", DIM, {"word": PayloadType.STRING, "tags": PayloadType.STRING_LIST}, keep_sources=True
)


def point(id: str, seed: int) -> Point:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    payload = {"word": f"word-{id}-{seed}", "tags": [f"tag-{id}-{seed}"]}
    source = Source("text", np.random.default_rng(seed).bytes(64))
    return Point(id, payload, vector / np.linalg.norm(vector), source)


def secrets(*points: Point) -> list[bytes]:
    """Bytes of the points' payloads, sources and embeddings."""
    parts: list[bytes] = []
    for point in points:
        assert point.embedding is not None
        assert point.source is not None
        parts += [str(point.payload["word"]).encode(), point.payload["tags"][0].encode()]
        parts += [point.source.content, point.embedding.tobytes()]
    return parts


def found_in(folder: Path, secrets: list[bytes]) -> set[bytes]:
    content = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {secret for secret in secrets if secret in content}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(indexes, "VECTOR_INDEX_FROM_ROWS", 300)
    monkeypatch.setattr(table_module, "VECTOR_INDEX_FROM_ROWS", 300)
    monkeypatch.setattr(indexes, "ID_INDEX_FROM_ROWS", 100)
    monkeypatch.setattr(engine_module, "PURGE_KEEP", dt.timedelta(milliseconds=100))


@pytest.fixture(scope="module")
def s3():
    with s3_server() as environment:
        yield environment


@pytest.fixture
async def engine(tmp_path):
    engine = LanceEngine(str(tmp_path / "store"))
    await engine.create_table(TABLE)
    yield engine
    await engine.close()


async def fill(engine) -> dict[str, Point]:
    points = {f"{n:04}": point(f"{n:04}", n) for n in range(ROWS)}
    await engine.upsert(TABLE, list(points.values()))
    await engine.optimize(TABLE)
    return points


async def test_deleted_and_replaced_points_are_in_no_file_after_a_purge(engine, tmp_path):
    points = await fill(engine)
    folder = tmp_path / "store" / "points.lance"
    deleted = [points.pop(id) for id in ("0000", "0123", "0399")]
    assert found_in(folder, [deleted[0].source.content, deleted[0].embedding.tobytes()])
    assert await engine.delete(TABLE, [point.id for point in deleted[:2]]) == 2
    assert await engine.delete_where(TABLE, Eq("word", deleted[2].payload["word"])) == 1
    replaced = points["0200"]
    points["0200"] = point("0200", 10_000)
    await engine.upsert(TABLE, [points["0200"]])
    await engine.purge(TABLE)
    assert found_in(folder, secrets(*deleted, replaced)) == set()
    assert await engine.count(TABLE) == len(points)
    [kept] = await engine.fetch(TABLE, ["0200"], with_embeddings=True, with_sources=True)
    assert kept.embedding.tobytes() == points["0200"].embedding.tobytes()
    [best, *_] = await engine.search(TABLE, points["0007"].embedding, top_k=3)
    assert best.id == "0007"


async def test_points_whose_files_are_deleted_whole_leave_the_indexes_too(engine, tmp_path):
    points = await fill(engine)
    first = list(points.values())
    fresh = [point(f"new-{n:04}", 20_000 + n) for n in range(50)]
    await engine.upsert(TABLE, fresh)
    await engine.delete(TABLE, list(points))
    await engine.purge(TABLE)
    folder = tmp_path / "store" / "points.lance"
    assert found_in(folder, secrets(*first)) == set()
    dataset = maintenance.open_dataset(str(folder), None)
    assert not erase.holds_deleted_rows(dataset)
    assert await engine.count(TABLE) == 50
    assert [hit.id for hit in await engine.search(TABLE, fresh[3].embedding, top_k=1)] == [fresh[3].id]


async def test_two_sweeps_erase_what_was_deleted_before_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance, "KEEP_VERSIONS", dt.timedelta(0))
    engine = LanceEngine(str(tmp_path / "store"))
    await engine.create_table(TABLE)
    points = await fill(engine)
    deleted = points["0123"]
    await engine.delete(TABLE, ["0123"])
    await engine.put_document("labels/x", b"document to delete", version=0)
    await engine.delete_document("labels/x", version=1)
    await engine.close()
    engine = LanceEngine(str(tmp_path / "store"), erase_seconds=900)
    await engine.open()
    real = TableMaintenance.erase
    monkeypatch.setattr(
        TableMaintenance, "erase", lambda self, keep=dt.timedelta(0), **options: real(self, keep, **options)
    )
    await engine._sweep.sweep()
    await engine._sweep.sweep()
    assert found_in(tmp_path / "store", [*secrets(deleted), b"document to delete"]) == set()
    await engine.close()


async def test_a_purge_under_writes_loses_nothing_and_leaves_no_leftovers(engine, tmp_path):
    points = await fill(engine)
    other = LanceEngine(str(tmp_path / "store"))
    written: list[str] = []
    stop = asyncio.Event()

    async def write(to: LanceEngine, name: str) -> None:
        n = 0
        while not stop.is_set():
            id = f"{name}-{n:04}"
            await to.upsert(TABLE, [point(id, 30_000 + n)])
            written.append(id)
            n += 1

    writers = [asyncio.create_task(write(engine, "a")), asyncio.create_task(write(other, "b"))]
    deleted = [points[f"{n:04}"] for n in range(0, 40, 10)]
    for id in (point.id for point in deleted):
        await engine.delete(TABLE, [id])
        await engine.purge(TABLE)
    stop.set()
    await asyncio.gather(*writers)
    assert len(written) > 4
    assert len(await engine.fetch(TABLE, written)) == len(written)
    await engine.purge(TABLE)
    folder = tmp_path / "store" / "points.lance"
    assert found_in(folder, secrets(*deleted)) == set()
    assert erase.leftovers(maintenance.open_dataset(str(folder), None)) == set()
    await other.close()


async def test_a_leftover_that_its_writer_removes_does_not_stop_a_purge(engine, tmp_path, monkeypatch):
    await fill(engine)
    folder = tmp_path / "store" / "points.lance"
    files = [folder / "data" / f"leftover-{n}.lance" for n in range(2)]
    for file in files:
        file.write_bytes(b"rows of a failed write")
    supersede = erase.supersede

    def supersede_as_the_writer_cleans_up(dataset):
        supersede(dataset)
        monkeypatch.setattr(erase, "leftovers", lambda dataset: {f"data/{file.name}" for file in files})
        files[0].unlink()

    monkeypatch.setattr(erase, "supersede", supersede_as_the_writer_cleans_up)
    await engine.purge(TABLE)
    assert not any(file.exists() for file in files)
    assert await engine.count(TABLE) == ROWS


async def test_nothing_is_left_in_a_bucket_either(s3, monkeypatch):
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    uri = f"s3://clipserve/erase-{os.urandom(4).hex()}"
    engine = LanceEngine(uri)
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, [point(f"{n:04}", n) for n in range(50)])
    deleted = point("0007", 7)
    client = boto3.client("s3", endpoint_url=s3["AWS_ENDPOINT"])

    def secrets_in_bucket() -> set[bytes]:
        objects = client.list_objects_v2(Bucket="clipserve", Prefix=uri.split("/", 3)[3])["Contents"]
        bodies = [client.get_object(Bucket="clipserve", Key=each["Key"])["Body"].read() for each in objects]
        return {secret for secret in secrets(deleted) if any(secret in body for body in bodies)}

    assert secrets_in_bucket()
    await engine.delete(TABLE, ["0007"])
    await engine.purge(TABLE)
    assert secrets_in_bucket() == set()
    assert await engine.count(TABLE) == 49
    await engine.drop_table("points")
    await engine.close()
