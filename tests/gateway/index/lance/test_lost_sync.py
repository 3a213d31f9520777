"""A failed sync is never repeated, because a second one may succeed although the disk lacks the data."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance import sync
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.lance.sync import manifest_path, newest_version
from clipserve_gateway.index.lance.sync_mark import Mark, change_mark, note_failure, note_synced, read_mark
from clipserve_gateway.index.values import Eq, PayloadType, Point, TableSpec

TABLE = TableSpec("points", 4, {"n": PayloadType.INT})
VECTOR = np.eye(4, dtype=np.float32)[0]
IDS = ["first", "lost", "later", "other"]

Fail = Callable[..., None]


def point(id: str) -> Point:
    return Point(id, {"n": 1}, VECTOR)


@pytest.fixture
def fail_sync(monkeypatch) -> Fail:
    """Makes the next sync of a path fail once. After that it succeeds, as on Linux."""
    real, wanted = os.fsync, []

    def fsync(number: int) -> None:
        path = os.readlink(f"/proc/self/fd/{number}")
        for part in wanted:
            if part in path:
                wanted.remove(part)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    return wanted.append


async def ids(engine: LanceEngine) -> list[str]:
    return [point.id for point in await engine.fetch(TABLE, IDS)]


@pytest.mark.parametrize("part", ["points.lance/data", "points.lance/_versions"])
async def test_a_write_whose_sync_failed_is_refused_and_so_are_those_after_it(tmp_path, fail_sync, part):
    engine = LanceEngine(str(tmp_path))
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, [point("first")])
    fail_sync(part)
    with pytest.raises(StorageFailed, match=r"failed to store a write to table points.*restart the gateway"):
        await engine.upsert(TABLE, [point("lost")])
    newest = newest_version(tmp_path / "points.lance")
    for write in (
        lambda: engine.upsert(TABLE, [point("later")]),
        lambda: engine.delete(TABLE, ["first"]),
        lambda: engine.delete_where(TABLE, Eq("n", 1)),
        lambda: engine.purge(TABLE),
        lambda: engine.optimize(TABLE),
    ):
        with pytest.raises(StorageFailed, match="accepts no writes"):
            await write()
    assert newest_version(tmp_path / "points.lance") == newest, "nothing was built on it"
    assert "first" in await ids(engine)
    await engine.close()
    again = LanceEngine(str(tmp_path))
    assert await ids(again) == ["first"]
    assert (tmp_path / "points.lance" / "_damaged" / manifest_path(tmp_path, newest).name).exists()
    await again.upsert(TABLE, [point("later")])
    assert await ids(again) == ["first", "later"]
    await again.close()


async def test_what_another_process_acknowledged_meanwhile_stays(tmp_path, fail_sync):
    mine, other = LanceEngine(str(tmp_path)), LanceEngine(str(tmp_path))
    await mine.create_table(TABLE)
    await mine.upsert(TABLE, [point("first")])
    await other.upsert(TABLE, [point("other")])
    fail_sync("points.lance/data")
    with pytest.raises(StorageFailed, match="Input/output error"):
        await mine.upsert(TABLE, [point("lost")])
    with pytest.raises(StorageFailed, match="by another gateway"):
        await other.upsert(TABLE, [point("later")])
    await mine.close()
    await other.close()
    again = LanceEngine(str(tmp_path))
    assert await ids(again) == ["first", "other"]
    await again.close()


async def test_a_delete_that_was_not_kept_is_not_acknowledged(tmp_path, fail_sync):
    engine = LanceEngine(str(tmp_path))
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, [point("first"), point("other")])
    fail_sync("points.lance/_deletions")
    with pytest.raises(StorageFailed, match="failed to store a write"):
        await engine.delete(TABLE, ["first"])
    await engine.close()
    again = LanceEngine(str(tmp_path))
    assert await ids(again) == ["first", "other"]
    await again.close()


async def test_documents_take_no_writes_either(tmp_path, fail_sync):
    engine = LanceEngine(str(tmp_path))
    assert await engine.put_document("key", b"kept", version=0)
    fail_sync("clipserve_catalog.lance/data")
    with pytest.raises(StorageFailed, match="failed to store a write"):
        await engine.put_document("key", b"lost", version=1)
    with pytest.raises(StorageFailed, match="accepts no writes"):
        await engine.put_document("other", b"value", version=0)
    await engine.close()
    again = LanceEngine(str(tmp_path))
    document = await again.get_document("key")
    assert document is not None
    assert (document.value, document.version) == (b"kept", 1)
    assert await again.put_document("key", b"new", version=1)
    await again.close()


async def test_a_file_that_could_not_be_opened_is_synced_by_the_next_write(tmp_path, monkeypatch):
    engine = LanceEngine(str(tmp_path))
    await engine.create_table(TABLE)
    real, failures = sync.sync_path, [OSError(errno.EMFILE, "too many open files")]

    def sync_path(path: Path) -> None:
        if failures:
            raise failures.pop()
        real(path)

    monkeypatch.setattr(sync, "sync_path", sync_path)
    with pytest.raises(StorageFailed, match="may not open more files"):
        await engine.upsert(TABLE, [point("first")])
    await engine.upsert(TABLE, [point("later")])
    assert await ids(engine) == ["first", "later"]
    assert not read_mark(tmp_path / "points.lance").failed
    await engine.close()


async def test_data_from_before_syncing_was_turned_on_is_not_put_aside(tmp_path, fail_sync):
    plain = LanceEngine(str(tmp_path), sync_writes=False)
    await plain.create_table(TABLE)
    await plain.upsert(TABLE, [point("first")])
    await plain.close()
    engine = LanceEngine(str(tmp_path))
    fail_sync("points.lance/data")
    with pytest.raises(StorageFailed, match="failed to store a write"):
        await engine.upsert(TABLE, [point("lost")])
    await engine.close()
    again = LanceEngine(str(tmp_path))
    assert await ids(again) == ["first"]
    await again.close()


def test_a_version_that_was_put_aside_meanwhile_is_not_acknowledged(tmp_path):
    manifest = tmp_path / "manifest"
    assert not note_synced(tmp_path, 3, manifest)
    manifest.touch()
    assert note_synced(tmp_path, 3, manifest)
    assert read_mark(tmp_path) == Mark(3)
    assert note_synced(tmp_path, 2, manifest)
    assert read_mark(tmp_path) == Mark(3), "never lower"
    note_failure(tmp_path, 1)
    assert read_mark(tmp_path) == Mark(3, failed=True)
    assert not note_synced(tmp_path, 4, manifest)


@pytest.mark.parametrize("content", [b"", b"0000", b"abc", b"00000000000000000x03\n"])
def test_a_mark_that_was_cut_off_says_nothing(tmp_path, content):
    (tmp_path / "_synced").write_bytes(content)
    assert read_mark(tmp_path) == Mark()
    with change_mark(tmp_path) as change:
        change.write(Mark(7))
    assert read_mark(tmp_path) == Mark(7)
