"""Opens a LanceDB store, and reads and writes its documents."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib
from typing import Any

from clipserve_gateway.index import store_format
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.commits import guarded
from clipserve_gateway.index.lance.documents import LanceDocuments
from clipserve_gateway.index.lance.lease import LEASES
from clipserve_gateway.index.lance.recovery import recover
from clipserve_gateway.index.lance.sync import TableSync, local_folder
from clipserve_gateway.process.file_modes import warn_of_folder

CATALOG = "clipserve_catalog"
PURGE_KEEP = dt.timedelta(seconds=1)
"""Time for reads of documents in progress at a purge; then it removes the versions that they use."""
METADATA_CACHE_BYTES = 16 * 1024 * 1024
"""Lance's cache of manifests and file metadata. Every commit adds some; Lance's default is 1 GiB."""


class LanceStore:
    """See Engine: its documents, and the list of its tables."""

    def __init__(self, uri: str, *, sync_writes: bool) -> None:
        self._uri = uri
        self._folder = local_folder(uri)
        self._sync_writes = sync_writes
        self._database: Any = None
        self._documents: LanceDocuments | None = None
        self._opening = asyncio.Lock()
        self._leases: asyncio.Task[LanceDocuments] | None = None

    async def open(self) -> None:
        """Opens the store, once. LanceDB is imported in a thread, because that takes a second or two."""
        await self._ready()

    async def _ready(self) -> LanceDocuments:
        if self._documents is None:
            async with self._opening:
                if self._documents is None:
                    # It opens hundreds of files, which this process may not be able to.
                    async with guarded():
                        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
                    if self._folder is not None:
                        warn_of_folder(self._folder)
                    async with guarded():
                        # Interval zero: the next read sees what another process has written.
                        interval = dt.timedelta(0)
                        session = lancedb.Session(metadata_cache_size_bytes=METADATA_CACHE_BYTES)
                        self._database = await lancedb.connect_async(
                            self._uri, read_consistency_interval=interval, session=session
                        )
                        documents = await self._open_documents(CATALOG)
                        store_format.check_format(await documents.get(store_format.KEY))
                        self._documents = documents
        return self._documents

    async def _open_documents(self, table: str) -> LanceDocuments:
        return await LanceDocuments.open(self._database, table, await self._recovered(table))

    async def _recovered(self, table: str) -> TableSync:
        """The sync of a table, which is first rolled back to its last complete version."""
        if self._folder is None:
            return TableSync(None)
        folder = self._folder / f"{table}.lance"
        newest = await asyncio.to_thread(recover, folder)
        return TableSync(folder if self._sync_writes else None, newest)

    async def close(self) -> None:
        if self._documents is not None:
            await self._documents.close()
        if self._leases is not None:
            with contextlib.suppress(Exception):
                await (await self._leases).close()

    async def get_document(self, key: str) -> Document | None:
        documents = await self._ready()
        async with guarded():
            return await documents.get(key)

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        documents = await self._ready()
        async with guarded():
            return await documents.put(key, value, version=version)

    async def delete_document(self, key: str, *, version: int) -> bool:
        documents = await self._ready()
        async with guarded():
            return await documents.delete(key, version=version)

    async def documents(self, prefix: str) -> list[Document]:
        documents = await self._ready()
        async with guarded():
            return await documents.with_prefix(prefix)

    async def purge_documents(self) -> None:
        documents = await self._ready()
        async with guarded():
            await documents.maintenance.erase(PURGE_KEEP, wait=True)

    async def _open_leases(self) -> LanceDocuments:
        if self._leases is None or (self._leases.done() and self._leases.exception()):
            self._leases = asyncio.create_task(self._open_documents(LEASES))
        return await asyncio.shield(self._leases)

    async def _all_tables(self) -> list[str]:
        await self._ready()
        async with guarded():
            return await table_names(self._database)


async def table_names(database: Any) -> list[str]:
    """Names of all tables of a LanceDB database, those of documents and leases included."""
    names: list[str] = []
    token: str | None = None
    while True:
        page = await database.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names
