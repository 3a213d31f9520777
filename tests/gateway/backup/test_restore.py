"""Restores: everything comes back as it was, and a failed restore leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest
from clipserve_gateway.backup.files import BackupError
from clipserve_gateway.backup.restore import check, restore
from clipserve_gateway.backup.take import take
from clipserve_gateway.collection.label_sets import LabelSets
from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance.backup import TableCopier
from clipserve_gateway.types import LabelSetRef

from testing.filled_store import Store, points, quiet


async def test_everything_comes_back_byte_for_byte(store, backup, tmp_path):
    manifest = await restore(backup, str(tmp_path / "again"), quiet)
    assert (manifest.collections, manifest.aliases, manifest.label_sets) == ({"moving": 4, "pets": 58}, 1, 1)
    again = Store(tmp_path / "again")
    try:
        assert await again.content() == await store.content()
        assert (await again.catalog.get("best")).name == "pets"
        assert (await again.catalog.get("moving")).migration.cursor == "p0"
        labels = await LabelSets(again.engine).get(LabelSetRef("birds"))
        assert labels.labels.names == ("owl", "kite")
        # It goes on from there.
        pets = await again.catalog.get("pets")
        await again.engine.upsert(pets.table, points(500, 3))
        assert await again.engine.count(pets.table) == 61
    finally:
        await again.close()


async def test_backups_and_restored_stores_are_their_owners_alone(backup, tmp_path):
    before = os.umask(0)
    try:
        await restore(backup, str(tmp_path / "again"), quiet)
    finally:
        os.umask(before)
    for folder in (backup, tmp_path / "again"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_what_was_deleted_before_an_update_of_files_stays_deleted(store, backup, tmp_path):
    await restore(backup, str(tmp_path / "again"), quiet)
    again = Store(tmp_path / "again")
    try:
        pets = await again.catalog.get("pets")
        assert await again.engine.fetch(pets.table, ["p3", "p50"]) == []
    finally:
        await again.close()


async def test_nothing_is_restored_over_anything(store, backup, tmp_path):
    before = await store.content()
    with pytest.raises(BackupError, match="is not empty"):
        await restore(backup, store.uri, quiet)
    assert await store.content() == before
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "note").write_text("mine")
    with pytest.raises(BackupError, match=r"is not empty \(note\)"):
        await restore(backup, str(tmp_path / "used"), quiet)
    (tmp_path / "mounted" / "lost+found").mkdir(parents=True)
    await restore(backup, str(tmp_path / "mounted"), quiet)


async def test_backup_and_store_do_not_lie_in_each_other(store, backup, tmp_path):
    for inside in (backup, backup / "store", backup / "store" / "new", backup / ".." / "backup" / "new"):
        with pytest.raises(BackupError, match="is inside the backup"):
            await restore(backup, str(inside), quiet)
    await check(backup, quiet)
    for inside in (tmp_path / "data" / "new.lance", tmp_path / "data" / ".." / "data" / "new"):
        with pytest.raises(BackupError, match="is inside the store"):
            await take(store.uri, inside, quiet)


async def test_a_restore_that_fails_leaves_nothing_behind(backup, tmp_path, monkeypatch):
    async def count(self, table):
        raise StorageFailed("the disk is full")

    monkeypatch.setattr(TableCopier, "count", count)
    (tmp_path / "mounted").mkdir()
    for place in ("again", "mounted"):
        with pytest.raises(BackupError, match="full"):
            await restore(backup, str(tmp_path / place), quiet)
    assert not (tmp_path / "again").exists()
    assert list((tmp_path / "mounted").iterdir()) == []


async def test_of_two_restores_into_one_folder_the_second_is_refused(backup, tmp_path):
    both = [restore(backup, str(tmp_path / "again"), quiet) for _ in range(2)]
    results = await asyncio.gather(*both, return_exceptions=True)
    [refused] = [result for result in results if result is not None and isinstance(result, Exception)]
    assert isinstance(refused, BackupError)
    assert "another restore writes to" in str(refused)
    assert (tmp_path / "again" / "clipserve_catalog.lance").is_dir()


@pytest.mark.slow
async def test_stores_in_object_storage_are_backed_up_and_restored(s3, tmp_path):
    """Object storage to folder, and back to object storage."""
    store = await Store(f"s3://{s3}/first").fill()
    content = await store.content()
    await store.close()
    await take(store.uri, tmp_path / "backup", quiet)
    for place in (f"s3://{s3}/second", tmp_path / "local"):
        await restore(tmp_path / "backup", str(place), quiet)
        again = Store(place)
        assert await again.content() == content
        await again.close()
    with pytest.raises(BackupError, match="is not empty"):
        await restore(tmp_path / "backup", f"s3://{s3}/second", quiet)


@pytest.fixture
def s3(monkeypatch):
    """The name of a bucket."""
    from testing.s3_server import BUCKET, s3_server

    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield BUCKET
