"""Backups of a store that is being written, dropped from, maintained, or out of disk space."""

from __future__ import annotations

import asyncio
import json
import os
import shutil

import lance
import pytest
from clipserve_gateway.backup import take as taking
from clipserve_gateway.backup.files import BackupError
from clipserve_gateway.backup.restore import restore
from clipserve_gateway.backup.take import take
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index import store_format
from clipserve_gateway.index.engines import open_engine
from clipserve_gateway.index.lance.backup import TableCopier, TableVanished
from clipserve_gateway.index.values import Point

from testing.filled_store import DIM, NOW, Store, points, quiet


async def test_a_store_whose_catalog_is_older_than_its_tables_is_not_backed_up(store, tmp_path):
    table = next(it.name for it in (tmp_path / "data").glob("c_pets_*.lance"))
    shutil.copytree(tmp_path / "data" / table, tmp_path / "data" / "c_other_6b0d327b_a7e2e65d.lance")
    with pytest.raises(BackupError, match="the catalog does not know 1 table"):
        await take(store.uri, tmp_path / "partial", quiet)
    assert not (tmp_path / "partial").exists()


async def test_a_backup_is_not_written_over_anything(store, backup, tmp_path):
    with pytest.raises(BackupError, match="already exists"):
        await take(store.uri, backup, quiet)
    with pytest.raises(BackupError, match="there is no folder"):
        await take(store.uri, tmp_path / "no" / "backup", quiet)
    with pytest.raises(BackupError, match="there is no store"):
        await take(str(tmp_path / "nothing"), tmp_path / "other", quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("x: os error 28")])
async def test_a_full_disk_leaves_nothing_behind(store, tmp_path, monkeypatch, error):
    real = TableCopier.copy

    async def copy(self, table, target):
        if "pets" not in table:
            return await real(self, table, target)
        os.makedirs(target)
        raise StorageFailed("the disk is full") if isinstance(error, RuntimeError) else error

    monkeypatch.setattr(TableCopier, "copy", copy)
    with pytest.raises(BackupError, match="full"):
        await take(store.uri, tmp_path / "backup", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_a_collection_that_is_dropped_meanwhile_is_not_in_the_backup(store, tmp_path, monkeypatch):
    real = TableCopier.copy
    dropped = []

    async def copy(self, table, target):
        if table == "c_pets_1_1" and not dropped:
            dropped.append(table)
            await store.catalog.delete_alias("best")
            await store.catalog.drop("pets")
        return await real(self, table, target)

    monkeypatch.setattr(TableCopier, "copy", copy)
    manifest = await take(store.uri, tmp_path / "backup", quiet)
    assert manifest.collections == {"moving": 4}
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)


async def test_a_store_that_never_stands_still_is_given_up(store, tmp_path, monkeypatch):
    async def copy(self, table, target):
        raise TableVanished("gone")

    monkeypatch.setattr(TableCopier, "copy", copy)
    with pytest.raises(BackupError, match="3 attempts"):
        await take(store.uri, tmp_path / "backup", quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


async def test_old_versions_stay_while_they_are_copied(store, tmp_path, monkeypatch):
    """The maintenance of a gateway does not get the table's lease meanwhile."""
    real = TableCopier.copy
    got = []

    async def copy(self, table, target):
        copied = await real(self, table, target)
        if table != "clipserve_catalog":
            other = await (TableCopier(store.uri)).opened()
            async with (await other.lease(table)).held() as mine:
                got.append(mine)
        return copied

    async def opened(self):
        await self.open()
        return self

    monkeypatch.setattr(TableCopier, "opened", opened, raising=False)
    monkeypatch.setattr(TableCopier, "copy", copy)
    await take(store.uri, tmp_path / "backup", quiet)
    assert got == [False] * 3


async def test_a_table_under_maintenance_is_waited_for_only_so_long(store, tmp_path, monkeypatch):
    monkeypatch.setattr(taking, "LEASE_SECONDS", 0.2)
    other = TableCopier(store.uri)
    await other.open()
    async with (await other.lease("c_pets_1_1")).held():
        with pytest.raises(BackupError, match="c_pets_1_1 has been under maintenance"):
            await take(store.uri, tmp_path / "backup", quiet)
    await other.close()


async def test_a_backup_under_writes_holds_what_was_acknowledged_before(store, tmp_path):
    pets = await store.catalog.get("pets")
    stop = asyncio.Event()

    async def write():
        number = 1000
        while not stop.is_set():
            await store.engine.upsert(pets.table, points(number, 5))
            number += 5

    before = {it.id for it in await store.engine.scroll(pets.table, after="", limit=10_000)}
    writing = asyncio.create_task(write())
    await asyncio.sleep(0)
    try:
        await take(store.uri, tmp_path / "backup", quiet)
    finally:
        stop.set()
        await writing
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)
    again = Store(tmp_path / "again")
    try:
        rows = await again.engine.scroll(pets.table, after="", limit=10_000)
        ids = {it.id for it in rows}
        assert before <= ids
        # Batches are there whole.
        assert (len(ids) - len(before)) % 5 == 0
    finally:
        await again.close()


async def test_indexes_are_backed_up(tmp_path):
    store = Store(tmp_path / "data")
    spec = CollectionSpec("many", {}, NOW, Generation("c_many_1_1", "m", "f" * 64, DIM))
    await store.catalog.create(spec)
    await store.engine.upsert(spec.table, [Point(it.id, {}, it.embedding) for it in points(0, 6000)])
    await store.engine.optimize(spec.table)
    await store.close()
    await take(store.uri, tmp_path / "backup", quiet)
    await restore(tmp_path / "backup", str(tmp_path / "again"), quiet)
    paths = [str(tmp_path / name / "c_many_1_1.lance") for name in ("data", "again")]
    indexed = [
        {it.name: it.num_rows_indexed for it in lance.dataset(path).describe_indices()} for path in paths
    ]
    assert indexed[0] == indexed[1]
    assert 6000 in indexed[1].values()


async def test_stores_without_a_format_open_and_newer_ones_are_refused(store, tmp_path):
    document = await store.engine.get_document(store_format.KEY)
    assert json.loads(document.value) == {"format": store_format.FORMAT}
    # As gateways wrote it before they knew of formats.
    await store.engine.delete_document(store_format.KEY, version=1)
    older = open_engine(store.uri)
    await older.open()
    assert await older.get_document(store_format.KEY) is None
    await older.close()
    value = json.dumps({"format": store_format.FORMAT + 1}).encode()
    await store.engine.put_document(store_format.KEY, value, version=0)
    newer = open_engine(store.uri)
    for call in (newer.open(), newer.get_document("x"), newer.documents(""), newer.tables()):
        with pytest.raises(StorageFailed, match="format 2, and this gateway reads formats up to 1"):
            await call
    with pytest.raises(BackupError, match="format 2"):
        await take(store.uri, tmp_path / "backup", quiet)


async def test_a_format_that_cannot_be_read_is_refused(store):
    await store.engine.put_document(store_format.KEY, b"?", version=1)
    with pytest.raises(StorageFailed, match="store/format"):
        await open_engine(store.uri).open()
