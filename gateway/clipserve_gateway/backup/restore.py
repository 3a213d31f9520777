"""Restores a backup into an empty store, which gateways can serve after that.

Tables are copied first and the catalog last, so that an interrupted restore does not look like a store.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from clipserve_gateway.backup.files import (
    FOLDER_MODE,
    BackupError,
    Report,
    bytes_below,
    check_outside,
    make_durable,
)
from clipserve_gateway.backup.manifest import STORE, Manifest, read_manifest, verify
from clipserve_gateway.backup.take import explain, wait_for_copy
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.lance.backup import SUFFIX, TableCopier, TableVanished
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.lance.sync import local_folder, sync_path

STAGING = ".clipserve-restore"
IGNORED = {"lost+found"}
"""Entries that a new file system has."""
MAX_NAMED = 3
"""Entries that an error names."""


async def check(backup: Path, report: Report) -> Manifest:
    """Reads a whole backup. Raises BackupError for a file that is damaged, missing or not in the manifest."""
    manifest = read_manifest(backup)
    with report("Checking", manifest.bytes) as advance:
        await asyncio.to_thread(verify, backup, manifest, advance)
    return manifest


async def restore(backup: Path, uri: str, report: Report) -> Manifest:
    """Verifies a backup and copies it to an empty store. Raises BackupError after removing partial copies."""
    folder = local_folder(uri)
    try:
        if folder is None:
            await check_no_tables(uri)
        else:
            check_outside(folder, backup, "the backup; restore into a folder outside of it")
            check_empty(folder)
        manifest = await check(backup, report)
        if folder is None:
            await into_bucket(backup, uri, manifest, report)
        else:
            await into_folder(backup, folder, manifest, report)
    except ClipserveError as error:
        raise BackupError(f"the restore failed: {error.message}") from error
    except TableVanished as error:
        raise BackupError(f"the restore failed: a file was removed in the meantime ({error})") from error
    except OSError as error:
        raise BackupError(explain(error, Path(uri))) from error
    return manifest


def check_empty(folder: Path) -> None:
    """Raises BackupError if the folder is not empty."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BackupError(f"{folder} is not a folder")
    entries = sorted({path.name for path in folder.iterdir()} - IGNORED)
    if entries:
        raise not_empty(str(folder), entries)


async def check_no_tables(uri: str) -> None:
    """Raises BackupError if a store in object storage has tables."""
    store = TableCopier(uri)
    await store.open()
    tables = await store.tables()
    if tables:
        raise not_empty(uri, tables)


def not_empty(place: str, entries: list[str]) -> BackupError:
    """The error of a restore into a place with these entries."""
    names = ", ".join(entries[:MAX_NAMED]) + (", …" if len(entries) > MAX_NAMED else "")
    return BackupError(f"{place} is not empty ({names}); restore into a new folder. Nothing was written")


async def into_folder(backup: Path, folder: Path, manifest: Manifest, report: Report) -> None:
    """Copies into a staging folder, and moves the tables from there when all are complete."""
    staging, made = prepare(folder)
    moved: list[Path] = []
    try:
        await copy_tables(backup, str(staging), manifest, report, lambda: bytes_below(staging))
        await asyncio.to_thread(make_durable, staging)
        for table in tables_of(manifest):
            place = folder / f"{table}{SUFFIX}"
            (staging / f"{table}{SUFFIX}").rename(place)
            moved.append(place)
        staging.rmdir()
        sync_path(folder)
    except BaseException:
        for place in reversed(moved):
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def prepare(folder: Path) -> tuple[Path, bool]:
    """Creates the staging folder; returns it, and whether the store's folder was created.

    Raises BackupError if another restore has created it.
    """
    made = not folder.exists()
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    staging = folder / STAGING
    try:
        staging.mkdir(mode=FOLDER_MODE)
    except FileExistsError:
        raise BackupError(
            f"another restore writes to {folder}; wait for it, or restore into a new folder. "
            "This one wrote nothing"
        ) from None
    return staging, made


async def into_bucket(backup: Path, uri: str, manifest: Manifest, report: Report) -> None:
    """Copies into object storage."""
    try:
        await copy_tables(backup, uri, manifest, report, lambda: 0)
    except BaseException:
        store = TableCopier(uri)
        await store.open()
        for table in reversed(tables_of(manifest)):
            await store.drop(table)
        raise


def tables_of(manifest: Manifest) -> list[str]:
    """The tables, catalog last."""
    return [*sorted(set(manifest.tables) - {CATALOG}), CATALOG]


async def copy_tables(
    backup: Path, uri: str, manifest: Manifest, report: Report, measure: Callable[[], int]
) -> None:
    """Copies all tables. Raises BackupError if the number of rows of a copy is wrong."""
    source, target = TableCopier(str(backup / STORE)), TableCopier(uri)
    with report("Restoring", manifest.bytes) as advance:
        for table in tables_of(manifest):
            before = measure()
            copying = asyncio.create_task(source.copy(table, target.table_uri(table)))
            await wait_for_copy(copying, lambda before=before: measure() - before, advance)  # type: ignore[misc]
            rows = await target.count(table)
            if rows != manifest.tables[table].rows:
                raise BackupError(
                    f"the copy of table {table} has {rows:,} rows, not {manifest.tables[table].rows:,}"
                )
