"""Full disks, read-only disks, and failing commits."""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import resource
import subprocess

import numpy as np
import pytest
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance import upsert_queue
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.values import PayloadType, Point, Source, TableSpec

TABLE = TableSpec("points", 4, {"n": PayloadType.INT}, keep_sources=True)
VECTOR = np.array([1, 0, 0, 0], np.float32)


def point(id, size=10):
    return Point(id, {"n": 1}, VECTOR, Source("image", os.urandom(size)))


@pytest.fixture
async def engine(tmp_path):
    engine = LanceEngine(str(tmp_path / "store"))
    await engine.create_table(TABLE)
    yield engine
    await engine.close()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 MB, which `mount -o remount` changes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.geteuid():
        pytest.skip("only root may mount a small disk")
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


async def fill(engine, acknowledged):
    """Upserts until that fails, and collects the acknowledged ids."""
    for n in range(100):
        await engine.upsert(TABLE, [point(str(n), 300_000)])
        acknowledged.append(str(n))


async def test_no_room_for_a_file_fails_its_write_and_nothing_else(engine):
    """A limit on file sizes, which any user may set, has the same effect as a full disk."""
    await engine.upsert(TABLE, [point("before", 100_000)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(StorageFailed, match="full: free or add space"):
            await engine.upsert(TABLE, [point("large", 1_000_000)])
        await engine.upsert(TABLE, [point("small")])
        assert await engine.count(TABLE) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    await engine.upsert(TABLE, [point("large", 1_000_000)])
    points = await engine.fetch(TABLE, ["before", "small", "large"], with_sources=True)
    assert [len(point.source.content) for point in points if point.source] == [100_000, 10, 1_000_000]


async def test_a_full_disk_keeps_what_was_acknowledged_and_takes_writes_when_there_is_room(small_disk):
    engine = LanceEngine(str(small_disk / "store"))
    await engine.create_table(TABLE)
    acknowledged: list[str] = []
    with pytest.raises(StorageFailed, match="full: free or add space"):
        await fill(engine, acknowledged)
    points = await engine.fetch(TABLE, acknowledged, with_sources=True)
    assert [len(point.source.content) for point in points if point.source] == [300_000] * len(acknowledged)
    assert len(acknowledged) > 5
    assert len(await engine.search(TABLE, VECTOR, top_k=3)) == 3
    with pytest.raises(StorageFailed, match="full: free or add space"):
        await engine.put_document("key", os.urandom(1_000_000), version=0)
    remount(small_disk, "size=64m")
    await engine.upsert(TABLE, [point("after", 300_000)])
    await engine.optimize(TABLE)
    assert await engine.count(TABLE) == len(acknowledged) + 1
    assert await engine.put_document("key", b"value", version=0)
    await engine.close()


async def test_a_read_only_disk_is_read_and_says_how_to_write_again(small_disk):
    engine = LanceEngine(str(small_disk / "store"))
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, [point("a")])
    await engine.put_document("key", b"value", version=0)
    remount(small_disk, "ro")
    for call in (
        engine.upsert(TABLE, [point("b")]),
        engine.delete(TABLE, ["a"]),
        engine.put_document("key", b"other", version=1),
        engine.create_table(TableSpec("other", 4, {})),
        engine.drop_table("points"),
    ):
        with pytest.raises(StorageFailed, match="the store is not writable"):
            await call
    opened_now = LanceEngine(str(small_disk / "store"))
    for reader in (engine, opened_now):
        assert [point.id for point in await reader.fetch(TABLE, ["a", "b"])] == ["a"]
        assert (await reader.get_document("key")).value == b"value"
        await reader.close()
    remount(small_disk, "rw")
    engine = LanceEngine(str(small_disk / "store"))
    await engine.upsert(TABLE, [point("b")])
    assert await engine.count(TABLE) == 2
    await engine.close()


async def test_a_folder_that_is_a_file_is_a_storage_failure(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageFailed):
        await LanceEngine(str(tmp_path / "file")).tables()


async def test_a_failing_commit_fails_its_callers_alone(engine, monkeypatch):
    real, sizes = upsert_queue.merge, []

    async def failing_once(table, key, rows, *, replace):
        sizes.append(len(rows))
        if len(sizes) == 2:
            raise RuntimeError("the disk burns")
        return await real(table, key, rows, replace=replace)

    monkeypatch.setattr(upsert_queue, "merge", failing_once)
    first = asyncio.ensure_future(engine.upsert(TABLE, [point("first")]))
    while not sizes:
        await asyncio.sleep(0)
    together = [asyncio.ensure_future(engine.upsert(TABLE, [point(f"second{n}")])) for n in range(3)]
    results = await asyncio.gather(first, *together, return_exceptions=True)
    assert results[0] is None
    assert [type(result) for result in results[1:]] == [StorageFailed] * 3
    await engine.upsert(TABLE, [point("third")])
    assert sizes == [1, 3, 1]
    points = await engine.fetch(TABLE, ["first", "second0", "third"])
    assert [point.id for point in points] == ["first", "third"]


async def test_commits_are_bounded_by_bytes(engine, monkeypatch):
    real, sizes = upsert_queue.merge, []

    async def counting(table, key, rows, *, replace):
        sizes.append(len(rows))
        return await real(table, key, rows, replace=replace)

    monkeypatch.setattr(upsert_queue, "merge", counting)
    monkeypatch.setattr(upsert_queue, "BYTES_PER_COMMIT", 100_000)
    await engine.upsert(TABLE, [point(str(n), 30_000) for n in range(10)] + [point("huge", 500_000)])
    assert sizes == [3, 3, 3, 1, 1]
    assert await engine.count(TABLE) == 11


async def test_inserts_that_must_not_replace_share_no_commit_with_those_that_do(engine):
    assert await engine.count(TABLE) == 0
    await asyncio.gather(
        engine.upsert(TABLE, [point("a", 1)]),
        engine.upsert(TABLE, [point("a", 2)], replace=False),
        engine.upsert(TABLE, [point("b", 3)], replace=False),
        engine.upsert(TABLE, [point("b", 4)], replace=False),
    )
    points = await engine.fetch(TABLE, ["a", "b"], with_sources=True)
    assert [len(point.source.content) for point in points if point.source] == [1, 3]


async def test_a_library_that_cannot_be_imported_for_want_of_files_is_tried_again(tmp_path, monkeypatch):
    def fails(name):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)

    engine = LanceEngine(str(tmp_path / "store"))
    with monkeypatch.context() as patched:
        patched.setattr(importlib, "import_module", fails)
        with pytest.raises(StorageFailed, match="raise its limit"):
            await engine.get_document("a")
    assert await engine.get_document("a") is None
    await engine.close()
