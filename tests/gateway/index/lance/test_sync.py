"""Acknowledged writes are synced; versions that a power cut left incomplete are moved aside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance import sync
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.lance.sync import HINT, MARK, version_of
from clipserve_gateway.index.values import PayloadType, Point, TableSpec

TABLE = TableSpec("points", 4, {"n": PayloadType.INT})
VECTOR = np.eye(4, dtype=np.float32)[0]


@pytest.fixture
def synced(monkeypatch) -> set[str]:
    """Everything that was synced: bytes of files, and entries of folders."""
    synced: set[str] = set()
    real = sync.sync_path

    def record(path: Path) -> None:
        if path.is_dir():
            synced.update(f"entry {path}/{name}" for name in os.listdir(path))
        else:
            synced.add(f"bytes {path}")
        real(path)

    monkeypatch.setattr(sync, "sync_path", record)
    return synced


def unsynced(store: Path, synced: set[str]) -> set[str]:
    """Everything in a store that was not synced."""
    paths = [path for path in store.rglob("*") if path.name not in (HINT, MARK)]
    parts = {f"entry {path}" for path in paths} | {f"bytes {path}" for path in paths if path.is_file()}
    return parts - synced


async def test_every_file_is_synced_before_a_write_is_acknowledged(tmp_path, synced):
    engine = LanceEngine(str(tmp_path))
    await engine.create_table(TABLE)
    assert unsynced(tmp_path, synced) == set()
    for n in range(3):
        await engine.upsert(TABLE, [Point(f"{n}", {"n": n}, VECTOR)])
        assert unsynced(tmp_path, synced) == set()
    assert await engine.delete(TABLE, ["1"]) == 1
    assert unsynced(tmp_path, synced) == set()
    assert await engine.put_document("key", b"value", version=0)
    assert unsynced(tmp_path, synced) == set()
    await engine.close()


async def test_syncing_can_be_turned_off(tmp_path, synced):
    engine = LanceEngine(str(tmp_path), sync_writes=False)
    await engine.create_table(TABLE)
    await engine.upsert(TABLE, [Point("0", {"n": 0}, VECTOR)])
    assert synced == set()
    assert not (tmp_path / "points.lance" / MARK).exists()
    await engine.close()


async def written(store: Path, points: int, sync_writes: bool) -> Path:
    """A table's folder after so many upserts."""
    engine = LanceEngine(str(store), sync_writes=sync_writes)
    await engine.create_table(TABLE)
    for n in range(points):
        await engine.upsert(TABLE, [Point(f"{n}", {"n": n}, VECTOR)])
    await engine.close()
    return store / "points.lance"


def newest(folder: Path) -> Path:
    return max((folder / "_versions").glob("*.manifest"), key=lambda path: version_of(path.name))


@pytest.mark.parametrize("harm", ["manifest empty", "manifest cut", "data missing", "data cut"])
async def test_a_version_that_never_reached_the_disk_is_put_aside(tmp_path, harm):
    folder = await written(tmp_path, 3, sync_writes=False)
    what, how = harm.split()
    path = newest(folder) if what == "manifest" else max((folder / "data").iterdir(), key=os.path.getmtime)
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(b"" if how == "empty" else content[: len(content) // 2])
    manifest = newest(folder).name
    engine = LanceEngine(str(tmp_path))
    assert [point.id for point in await engine.fetch(TABLE, ["0", "1", "2"])] == ["0", "1"]
    assert (folder / "_damaged" / manifest).exists()
    await engine.upsert(TABLE, [Point("new", {"n": 9}, VECTOR)])
    assert await engine.count(TABLE) == 3
    await engine.close()


async def test_damage_to_what_was_synced_is_told_and_not_rolled_back(tmp_path):
    folder = await written(tmp_path, 3, sync_writes=True)
    min((folder / "data").iterdir(), key=os.path.getmtime).unlink()
    newest(folder).unlink()
    engine = LanceEngine(str(tmp_path))
    with pytest.raises(StorageFailed, match="restore the store from a backup"):
        await engine.fetch(TABLE, ["0"])
    await engine.close()
