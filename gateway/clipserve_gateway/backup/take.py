"""Takes a backup of a store that gateways may be serving.

The catalog is copied first, at one version: collections, aliases, label sets and migrations as they were at
that moment. Then each table that it lists is copied at one version, newer than the catalog. So every write
that was acknowledged before the backup began is in it, and each collection is as it was at one moment, not
the same for all collections. A table of a migration is copied after the table that answers, so that it lacks
no point that the other one has. While a table is copied, its maintenance waits: see Lease.
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
from clipserve_gateway.backup.errors import BackupError
from clipserve_gateway.backup.files import (
    bytes_below,
    facts_of,
    files_below,
    make_durable,
    refuse_inside,
    sync,
)
from clipserve_gateway.backup.manifest import STORE, Manifest, TableFacts, write_manifest
from clipserve_gateway.backup.report import Report
from clipserve_gateway.collection.alias_documents import ALIASES
from clipserve_gateway.collection.label_sets import HEADS
from clipserve_gateway.collection.spec import COLLECTIONS, read_spec
from clipserve_gateway.collection.tables import RECORDS, is_collection_table
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.backup import TableCopier, TableCopy, TableVanished
from clipserve_gateway.index.lance.commits import storage_failed
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.lance.sync import local_folder
from clipserve_gateway.index.store_format import KEY, check_format, format_of
from clipserve_gateway.store.check import StoreState

ATTEMPTS = 3
"""Times that a backup is begun anew because a table was dropped while it was copied."""
LEASE_SECONDS = 900.0
"""How long the maintenance of a table is waited for at most."""
LOOK_SECONDS = 0.5
"""So often the progress of a copy is looked at."""


async def take(uri: str, target: Path, report: Report) -> Manifest:
    """Writes a backup of the store into the new folder `target`, which appears when it is whole.

    Raises BackupError, and leaves nothing behind then.
    """
    check_target(target)
    folder = local_folder(uri)
    if folder is not None:
        refuse_inside(target, folder, "the store: name a folder outside of it")
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
            f"collections were dropped while they were copied, {ATTEMPTS} times: try again when less changes"
        )
    except ClipserveError as error:
        raise BackupError(f"the backup failed: {error.message}") from error
    except OSError as error:
        raise BackupError(words_of(error, target)) from error
    finally:
        await store.close()
        shutil.rmtree(unfinished, ignore_errors=True)


def check_target(target: Path) -> None:
    """BackupError where a backup cannot be written."""
    if target.is_symlink() or target.exists():
        raise BackupError(f"{target} is there already: name a new folder")
    if not target.parent.is_dir():
        raise BackupError(f"there is no folder {target.parent}")


async def copy_all(store: TableCopier, target: Path, report: Report) -> Manifest:
    """Copies catalog and tables. Raises TableVanished, ClipserveError, OSError."""
    created = dt.datetime.now(dt.timezone.utc)
    copies = TableCopier(str(target / STORE))
    there = await store.tables()
    tables = {CATALOG: await store.copy(CATALOG, copies.table_uri(CATALOG))}
    documents = {it.key: it for it in await copies.documents()}
    check_format(documents.get(KEY))
    await refuse_unlisted(store, there, documents)
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
        aliases=counted(documents, ALIASES),
        label_sets=counted(documents, HEADS),
        tables={name: TableFacts(it.rows, it.version) for name, it in tables.items()},
        files=files,
    )
    write_manifest(target, manifest)
    return manifest


async def refuse_unlisted(store: TableCopier, there: list[str], documents: dict[str, Document]) -> None:
    """BackupError where the catalog does not know some of the tables that were there before it was read."""
    specs = [read_spec(it.value) for key, it in documents.items() if key.startswith(COLLECTIONS)]
    known = {generation.table for spec in specs for generation in spec.generations}
    unlisted = [
        it for it in there if is_collection_table(it) and it not in known and RECORDS + it not in documents
    ]
    still = await store.tables() if unlisted else []
    state = StoreState(
        unlisted=tuple(it for it in unlisted if it in still),
        missing=tuple(sorted(known - set(await store.tables()))) if known - set(there) else (),
    )
    if state.problem:
        raise BackupError(f"the backup would not be whole: {state.problem}")


def counted(documents: dict[str, Document], prefix: str) -> int:
    """Documents whose keys begin so."""
    return sum(key.startswith(prefix) for key in documents)


async def copy_table(
    store: TableCopier, table: str, copies: TableCopier, target: Path, report: Report
) -> TableCopy:
    """Copies a table while no other process removes its old versions."""
    async with held(store, table):
        before, total = bytes_below(target), await store.table_bytes(table)
        with report(f"Copying {table}", total) as advance:
            copying = asyncio.create_task(store.copy(table, copies.table_uri(table)))
            return await watched(copying, lambda: min(total, bytes_below(target) - before), advance)


async def watched(
    copying: asyncio.Task[TableCopy], measure: Callable[[], int], advance: Callable[[int], None]
) -> TableCopy:
    """Tells how many bytes are there while a copy is made. Cancelled, it waits until nothing is written."""
    done = 0
    try:
        while not copying.done():
            await asyncio.wait([copying], timeout=LOOK_SECONDS)
            now = await asyncio.to_thread(measure)
            advance(max(0, now - done))
            done = max(done, now)
    except asyncio.CancelledError:
        await asyncio.wait([copying])
        raise
    return await copying


@contextlib.asynccontextmanager
async def held(store: TableCopier, table: str) -> AsyncIterator[None]:
    """Holds a table's lease; BackupError where the table is under maintenance for too long."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            lease = await store.lease(table)
            await asyncio.wait_for(stack.enter_async_context(lease.held(wait=True)), LEASE_SECONDS)
        except asyncio.TimeoutError:
            raise BackupError(f"table {table} is under maintenance since {LEASE_SECONDS:g} s") from None
        except Exception as error:
            raise storage_failed(error) from error
        yield


def publish(unfinished: Path, target: Path) -> None:
    """Gives a whole backup its name."""
    sync(unfinished)
    check_target(target)
    unfinished.rename(target)
    sync(target.parent)


def words_of(error: OSError, place: Path) -> str:
    """What a system's error means."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {place} is full: free room, or name a folder on another disk; nothing was kept"
    return f"{error.filename or place}: {error.strerror or error}; nothing was kept"
