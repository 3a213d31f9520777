"""Documents in LanceDB: one row each. Several processes change them by compare-and-set."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.commits import PRIMARY_KEY, merge, retrying
from clipserve_gateway.index.lance.filters import sql_string
from clipserve_gateway.index.lance.maintenance_schedule import TableMaintenance
from clipserve_gateway.index.lance.sync import TableSync

COMMITS = 20
"""Commits until maintenance: fewer than for points, because documents are read often and are few."""
CACHE_BYTES = 32 << 20
"""Cache of single documents at the table's current version."""
LIST_CACHE_BYTES = 8 << 20
"""Cache of lists of documents by prefix."""

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("value", pa.large_binary(), nullable=False),
        pa.field("writing", pa.string(), nullable=False),
    ]
)
"""`writing` names the call that wrote the row."""


class LanceDocuments:
    """A table of documents that all processes on one store share."""

    def __init__(self, table: Any, sync: TableSync) -> None:
        self._table = table
        self._sync = sync
        self._writing = asyncio.Lock()
        self.maintenance = TableMaintenance(table, table.name, self._writing, commits=COMMITS, sync=sync)
        self._cache: LRUCache[str, tuple[Document | None]] = LRUCache(CACHE_BYTES, entry_bytes)
        self._cache_version = 0
        """The table's version that the cache is of."""
        self._lists: LRUCache[str, tuple[int, list[Document]]] = LRUCache(LIST_CACHE_BYTES, list_bytes)
        """By prefix: a version of the table, and its documents with this prefix."""

    @classmethod
    async def open(cls, database: Any, table: str, sync: TableSync) -> LanceDocuments:
        """The documents of a table, which is created if it does not exist."""
        documents = cls(await database.create_table(table, schema=SCHEMA, mode="create", exist_ok=True), sync)
        await sync.sync()
        return documents

    async def get(self, key: str) -> Document | None:
        """See Engine. Asks the store for the table's version, and reads the row only if that has changed."""
        version = await self._table.version()
        if version != self._cache_version:
            self._cache.clear()
            self._cache_version = version
        if key not in self._cache:
            # The rows may be newer than `version`. Then the next call finds a newer version and reads again.
            rows = await self._rows(f"key = {sql_string(key)}")
            entry = (document(rows[0]) if rows else None,)
            if entry_bytes(entry) > CACHE_BYTES or self._cache_version != version:
                return entry[0]
            self._cache[key] = entry
        return self._cache[key][0]

    async def put(self, key: str, value: bytes, *, version: int) -> bool:
        stored = await self.get(key)
        if (stored.version if stored else 0) != version:
            return False
        call = secrets.token_hex(8)
        row = {"key": key, "version": version + 1, "value": value, "writing": call}
        rows = pa.Table.from_pylist([row], schema=SCHEMA)
        condition = f"target.version = {version}" if version else False
        async with self._writing:
            self._sync.check()
            result = await merge(self._table, "key", rows, replace=condition)
            await self._sync.sync()
        self.maintenance.note_commit()
        if result.num_inserted_rows + result.num_updated_rows == 1:
            return True
        # A commit whose answer was lost is repeated, and then conflicts with itself.
        rows = await self._rows(f"key = {sql_string(key)}")
        return bool(rows) and rows[0]["writing"] == call

    async def delete(self, key: str, *, version: int) -> bool:
        stored = await self.get(key)
        if stored is None or stored.version != version:
            return False
        condition = f"key = {sql_string(key)} AND version = {version}"
        async with self._writing:
            self._sync.check()
            result = await retrying(lambda: self._table.delete(condition))
            await self._sync.sync()
        self.maintenance.note_commit()
        return bool(result.num_deleted_rows)

    async def with_prefix(self, prefix: str) -> list[Document]:
        """See Engine.documents. Reads the rows only if the table's version has changed."""
        version = await self._table.version()
        cached = self._lists.get(prefix)
        if cached is None or cached[0] != version:
            # The rows may be newer than `version`. Then the next call finds a newer version and reads again.
            rows = await self._rows(f"starts_with(key, {sql_string(prefix)})")
            cached = version, sorted(map(document, rows), key=lambda document: document.key)
            self._lists.pop(prefix, None)
            if list_bytes(cached) <= LIST_CACHE_BYTES:
                self._lists[prefix] = cached
        return list(cached[1])

    async def close(self) -> None:
        """Waits for maintenance in progress."""
        await self.maintenance.close()

    async def _rows(self, condition: str) -> list[dict[str, Any]]:
        return (await self._table.query().where(condition).to_arrow()).to_pylist()


def document(row: dict[str, Any]) -> Document:
    """The document of a row."""
    return Document(row["key"], row["value"], row["version"])


def entry_bytes(entry: tuple[Document | None]) -> int:
    """Approximate memory of a cached document."""
    return 256 + (len(entry[0].value) if entry[0] else 0)


def list_bytes(entry: tuple[int, list[Document]]) -> int:
    """Approximate memory of a cached list."""
    return 256 + sum(entry_bytes((document,)) for document in entry[1])
