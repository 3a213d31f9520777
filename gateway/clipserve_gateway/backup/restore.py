"""Puts a backup into an empty place, which gateways can serve from afterwards.

Tables go first and the catalog last: a restore that was interrupted is not taken for a store.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from clipserve_gateway.backup.errors import BackupError
from clipserve_gateway.backup.files import FOLDER_MODE, bytes_below, make_durable, refuse_inside, sync
from clipserve_gateway.backup.manifest import STORE, Manifest, read_manifest, verify
from clipserve_gateway.backup.report import Report
from clipserve_gateway.backup.take import watched, words_of
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.lance.backup import SUFFIX, TableCopier, TableVanished
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.lance.sync import local_folder

STAGING = ".clipserve-restore"
HARMLESS = {"lost+found"}
"""Entries that a new file system has."""
NAMED = 3


async def check(backup: Path, report: Report) -> Manifest:
    """Reads a backup whole; BackupError names the file that is damaged, missing or not its own."""
    manifest = read_manifest(backup)
    with report("Checking", manifest.bytes) as advance:
        await asyncio.to_thread(verify, backup, manifest, advance)
    return manifest


async def restore(backup: Path, uri: str, report: Report) -> Manifest:
    """Checks a backup and copies it to an empty store. Raises BackupError, and leaves nothing behind then."""
    folder = local_folder(uri)
    try:
        if folder is None:
            await refuse_tables(uri)
        else:
            refuse_inside(folder, backup, "the backup: restore into a folder outside of it")
            refuse_entries(folder)
        manifest = await check(backup, report)
        if folder is None:
            await into_bucket(backup, uri, manifest, report)
        else:
            await into_folder(backup, folder, manifest, report)
    except ClipserveError as error:
        raise BackupError(f"the restore failed: {error.message}") from error
    except TableVanished as error:
        raise BackupError(f"the restore failed: a file went away meanwhile ({error})") from error
    except OSError as error:
        raise BackupError(words_of(error, Path(uri))) from error
    return manifest


def refuse_entries(folder: Path) -> None:
    """BackupError for a folder that holds anything."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BackupError(f"{folder} is not a folder")
    there = sorted({it.name for it in folder.iterdir()} - HARMLESS)
    if there:
        raise BackupError(not_empty(str(folder), there))


async def refuse_tables(uri: str) -> None:
    """BackupError for a store in object storage that has tables."""
    store = TableCopier(uri)
    await store.open()
    there = await store.tables()
    if there:
        raise BackupError(not_empty(uri, there))


def not_empty(place: str, there: list[str]) -> str:
    """Why nothing is restored to a place."""
    names = ", ".join(there[:NAMED]) + (", …" if len(there) > NAMED else "")
    return f"{place} is not empty ({names}): restore into a new folder; nothing was written"


async def into_folder(backup: Path, folder: Path, manifest: Manifest, report: Report) -> None:
    """Copies into a folder beside the tables' places, and moves each table there when all are whole."""
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
        sync(folder)
    except BaseException:
        for place in reversed(moved):
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(staging, ignore_errors=True)
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def prepare(folder: Path) -> tuple[Path, bool]:
    """A place for copies in the folder, and whether the folder was made for it."""
    made = not folder.exists()
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    staging = folder / STAGING
    staging.mkdir(mode=FOLDER_MODE)
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
    """The tables, the catalog last."""
    return [*sorted(set(manifest.tables) - {CATALOG}), CATALOG]


async def copy_tables(
    backup: Path, uri: str, manifest: Manifest, report: Report, measure: Callable[[], int]
) -> None:
    """Copies all tables, and counts their rows. BackupError where a table has another number of rows."""
    source, target = TableCopier(str(backup / STORE)), TableCopier(uri)
    with report("Restoring", manifest.bytes) as advance:
        for table in tables_of(manifest):
            before = measure()
            copying = asyncio.create_task(source.copy(table, target.table_uri(table)))
            await watched(copying, lambda before=before: measure() - before, advance)  # type: ignore[misc]
            rows = await target.count(table)
            if rows != manifest.tables[table].rows:
                raise BackupError(f"table {table} has {rows:,} rows, not {manifest.tables[table].rows:,}")
