"""Makes a backup of a store that gateways may be serving.

The catalog is copied first, at one version: collections, aliases, label sets and migrations as they are at
that time. Then each table in it is copied at one version, newer than the catalog. So the backup has every
write that was acknowledged before it began. Each collection is consistent in itself, but collections are
copied at different times. The other table of a migration is copied after the serving table, so that it has
all points of the serving table. While a table is copied, its maintenance waits: see Lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import clipserve_gateway
from clipserve_gateway.backup.files import (
    BackupError,
    Report,
    bytes_below,
    check_outside,
    facts_of,
    files_below,
    make_durable,
)
from clipserve_gateway.backup.manifest import STORE, Manifest, write_manifest
from clipserve_gateway.collection.alias_documents import ALIASES
from clipserve_gateway.collection.label_sets import HEADS
from clipserve_gateway.collection.spec import COLLECTIONS, read_spec
from clipserve_gateway.collection.tables import RECORDS, is_collection_table
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.backup import TableCopier, TableCopy, TableVanished
from clipserve_gateway.index.lance.commits import storage_failed
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.lance.sync import local_folder, sync_path
from clipserve_gateway.index.store_format import KEY, check_format, format_of
from clipserve_gateway.store.check import StoreState

ATTEMPTS = 3
"""Attempts of a backup; one fails if a table is dropped while it is copied."""
LEASE_SECONDS = 900.0
"""Maximum wait for the maintenance of a table."""
PROGRESS_SECONDS = 0.5
"""Between two updates of the progress of a copy."""


async def take(uri: str, target: Path, report: Report) -> Manifest:
    """Writes a backup of the store into the new folder `target`, which appears when the backup is complete.

    Raises BackupError after removing partial copies.
    """
    check_target(target)
    folder = local_folder(uri)
    if folder is not None:
        check_outside(target, folder, "the store; give a folder outside of it")
    if folder is not None and not (folder / f"{CATALOG}.lance").is_dir():
        raise BackupError(f"there is no store in {uri}: {CATALOG}.lance is missing")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    store = TableCopier(uri)
    try:
        await store.open()
        for _ in range(ATTEMPTS):
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(mode=0o700)
            with contextlib.suppress(TableVanished):
                manifest = await copy_all(store, unfinished, report)
                publish(unfinished, target)
                return manifest
        raise BackupError(
            f"collections were deleted while they were being copied, in {ATTEMPTS} attempts; try again later"
        )
    except ClipserveError as error:
        raise BackupError(f"the backup failed: {error.message}") from error
    except OSError as error:
        raise BackupError(explain(error, target)) from error
    finally:
        await store.close()
        shutil.rmtree(unfinished, ignore_errors=True)


def check_target(target: Path) -> None:
    """Raises BackupError if the target exists or its parent does not."""
    if target.is_symlink() or target.exists():
        raise BackupError(f"{target} already exists; give a new folder")
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.parent}")


async def copy_all(store: TableCopier, target: Path, report: Report) -> Manifest:
    """Copies catalog and tables. Raises TableVanished, ClipserveError, OSError."""
    created = dt.datetime.now(dt.timezone.utc)
    copies = TableCopier(str(target / STORE))
    existing = await store.tables()
    tables = {CATALOG: await store.copy(CATALOG, copies.table_uri(CATALOG))}
    documents = {document.key: document for document in await copies.documents()}
    check_format(documents.get(KEY))
    await check_listed(store, existing, documents)
    collections: dict[str, int] = {}
    for key, document in sorted(documents.items()):
        if not key.startswith(COLLECTIONS):
            continue
        spec = read_spec(document.value)
        for generation in spec.generations:
            copied = await copy_table(store, generation.table, copies, target, report)
            tables[generation.table] = copied
        collections[spec.name] = tables[spec.serving.table].rows
    await asyncio.to_thread(make_durable, target)
    with report("Checksums", bytes_below(target)) as advance:
        files = {
            name: await asyncio.to_thread(facts_of, target / name, advance) for name in files_below(target)
        }
    manifest = Manifest(
        created=created.isoformat(timespec="seconds"),
        gateway=clipserve_gateway.__version__,
        store_format=format_of(documents.get(KEY)),
        collections=collections,
        aliases=count_prefix(documents, ALIASES),
        label_sets=count_prefix(documents, HEADS),
        tables=tables,
        files=files,
    )
    write_manifest(target, manifest)
    return manifest


async def check_listed(store: TableCopier, existing: list[str], documents: dict[str, Document]) -> None:
    """Raises BackupError if the catalog does not match the tables that existed before it was read."""
    specs = [read_spec(document.value) for key, document in documents.items() if key.startswith(COLLECTIONS)]
    listed = {generation.table for spec in specs for generation in spec.generations}
    recorded = {key.removeprefix(RECORDS) for key in documents if key.startswith(RECORDS)}
    unlisted = set(filter(is_collection_table, existing)) - listed - recorded
    missing = listed - set(existing)
    if unlisted or missing:
        # Other gateways may have created or dropped tables since.
        existing_now = set(await store.tables())
        state = StoreState(
            unlisted=tuple(sorted(unlisted & existing_now)), missing=tuple(sorted(missing - existing_now))
        )
        if state.problem:
            raise BackupError(f"the backup would not be complete: {state.problem}")


def count_prefix(documents: dict[str, Document], prefix: str) -> int:
    """Number of documents whose keys begin with `prefix`."""
    return sum(key.startswith(prefix) for key in documents)


async def copy_table(
    store: TableCopier, table: str, copies: TableCopier, target: Path, report: Report
) -> TableCopy:
    """Copies a table while no other process removes its old versions."""
    async with lease_held(store, table):
        before, total = bytes_below(target), await store.table_bytes(table)
        with report(f"Copying {table}", total) as advance:
            copying = asyncio.create_task(store.copy(table, copies.table_uri(table)))
            return await wait_for_copy(copying, lambda: min(total, bytes_below(target) - before), advance)


async def wait_for_copy(
    copying: asyncio.Task[TableCopy], measure: Callable[[], int], advance: Callable[[int], None]
) -> TableCopy:
    """Reports progress while a copy is made. When cancelled, waits until the copy has stopped writing."""
    done = 0
    try:
        while not copying.done():
            await asyncio.wait([copying], timeout=PROGRESS_SECONDS)
            now = await asyncio.to_thread(measure)
            advance(max(0, now - done))
            done = max(done, now)
    except asyncio.CancelledError:
        await asyncio.wait([copying])
        raise
    return await copying


@contextlib.asynccontextmanager
async def lease_held(store: TableCopier, table: str) -> AsyncIterator[None]:
    """Holds a table's lease. Raises BackupError if maintenance holds it for longer than LEASE_SECONDS."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            lease = await store.lease(table)
            await asyncio.wait_for(stack.enter_async_context(lease.held(wait=True)), LEASE_SECONDS)
        except asyncio.TimeoutError:
            raise BackupError(
                f"table {table} has been under maintenance for {LEASE_SECONDS:g} s; try again"
            ) from None
        except Exception as error:
            raise storage_failed(error) from error
        yield


def publish(unfinished: Path, target: Path) -> None:
    """Renames a complete backup to its final name."""
    sync_path(unfinished)
    check_target(target)
    unfinished.rename(target)
    sync_path(target.parent)


def explain(error: OSError, place: Path) -> str:
    """The message for an error of the system."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {place} is full; free space or give a folder on another disk. Nothing was kept"
    return f"{error.filename or place}: {error.strerror or error}. Nothing was kept"
