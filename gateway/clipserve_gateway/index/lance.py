"""LanceDB, the embedded engine: a folder on disk, or object storage."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from clipserve_gateway.errors import ClipserveError, CollectionExists, CollectionNotFound
from clipserve_gateway.index.lance_catalog import Entry, LanceCatalog, drop_orphans, new_table_name
from clipserve_gateway.index.lance_rows import arrow_schema
from clipserve_gateway.index.lance_table import LanceTable
from clipserve_gateway.index.lance_write import storage_failed
from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, Point

BELIEF_SECONDS = 1.0
"""How long what the catalog says of a collection is believed: so late is a drop by another process seen."""


class LanceEngine:
    """See Engine. `uri` is a folder, or an object storage URI that LanceDB understands."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._database: Any = None
        self._catalog: LanceCatalog | None = None
        self._opening = asyncio.Lock()
        self._tables: dict[str, LanceTable] = {}
        """By the tables' own names; writers of a table share one."""
        self._entries: dict[str, tuple[Entry, float]] = {}
        """By the collections' names, and when the catalog said so."""

    async def open(self) -> None:
        """Opens the database, once. Importing LanceDB takes a second or two, in a thread."""
        await self._ready()

    async def _ready(self) -> LanceCatalog:
        async with self._opening:
            if self._catalog is None:
                lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
                async with guarded():
                    # Interval zero: what another process has written is seen by the next read.
                    interval = dt.timedelta(0)
                    self._database = await lancedb.connect_async(
                        self._uri, read_consistency_interval=interval
                    )
                    self._catalog = await LanceCatalog.open(self._database)
                await drop_orphans(self._database, self._catalog)
            return self._catalog

    async def create(self, spec: CollectionSpec) -> None:
        """See Engine."""
        catalog = await self._ready()
        entry = Entry(spec, new_table_name(spec.name))
        async with guarded():
            taken = await catalog.find(spec.name) is not None
            if not taken:
                await self._database.create_table(entry.table, schema=arrow_schema(spec), mode="create")
                taken = not await catalog.add(entry)
                if taken:
                    await self._database.drop_table(entry.table)
        if taken:
            raise CollectionExists(f"there is a collection {spec.name!r} already", field="name")
        self._entries[spec.name] = (entry, time.monotonic())

    async def get(self, name: str) -> CollectionSpec:
        """See Engine."""
        return (await self._find(name)).spec

    async def _find(self, name: str) -> Entry:
        known, since = self._entries.get(name, (None, 0.0))
        if known is not None and time.monotonic() - since < BELIEF_SECONDS:
            return known
        catalog = await self._ready()
        async with guarded():
            entry = await catalog.find(name)
        if entry is None:
            self._entries.pop(name, None)
            raise CollectionNotFound(f"there is no collection {name!r}", field="collection")
        self._entries[name] = (entry, time.monotonic())
        return entry

    async def collections(self) -> list[CollectionSpec]:
        """See Engine."""
        catalog = await self._ready()
        async with guarded():
            return [entry.spec for entry in await catalog.all()]

    async def drop(self, name: str) -> None:
        """See Engine."""
        catalog = await self._ready()
        entry = await self._find(name)
        async with guarded():
            await catalog.remove(entry)
            self._entries.pop(name, None)
            table = self._tables.pop(entry.table, None)
            if table is not None:
                await table.close()
            await self._database.drop_table(entry.table, ignore_missing=True)

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        """See Engine."""
        async with self._table(name) as table:
            await table.upsert(points)

    async def delete(self, name: str, ids: Sequence[str]) -> int:
        """See Engine."""
        async with self._table(name) as table:
            return await table.delete(ids)

    async def fetch(self, name: str, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """See Engine."""
        async with self._table(name) as table:
            return await table.fetch(ids, with_embeddings=with_embeddings)

    async def search(
        self, name: str, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        """See Engine."""
        async with self._table(name) as table:
            return await table.search(embedding, top_k=top_k, filter=filter, with_payload=with_payload)

    async def count(self, name: str, filter: Filter | None) -> int:
        """See Engine."""
        async with self._table(name) as table:
            return await table.count(filter)

    async def close(self) -> None:
        """See Engine."""
        for table in self._tables.values():
            await table.close()
        self._tables.clear()
        if self._catalog is not None:
            await self._catalog.close()

    @contextlib.asynccontextmanager
    async def _table(self, name: str) -> AsyncIterator[LanceTable]:
        """The collection's table; what fails because it was dropped meanwhile becomes CollectionNotFound."""
        entry = await self._find(name)
        try:
            yield await self._open_table(entry)
        except Exception as error:
            if isinstance(error, ClipserveError) and error.reason != "STORAGE_FAILED":
                raise
            self._entries.pop(name, None)
            if (await self._find(name)).table == entry.table:
                raise storage_failed(error) from error
            raise CollectionNotFound(f"collection {name!r} was made anew", field="collection") from error

    async def _open_table(self, entry: Entry) -> LanceTable:
        table = self._tables.get(entry.table)
        if table is None:
            opened = await self._database.open_table(entry.table)
            # Another call may have opened it meanwhile.
            table = self._tables.setdefault(entry.table, LanceTable(opened, entry.spec))
        return table


@contextlib.asynccontextmanager
async def guarded() -> AsyncIterator[None]:
    """Errors of the engine's become StorageFailed."""
    try:
        yield
    except Exception as error:
        raise storage_failed(error) from error
