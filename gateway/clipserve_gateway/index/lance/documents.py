"""Documents in LanceDB: one row each, changed by compare-and-set, by several processes too."""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.commits import PRIMARY_KEY, merge, retrying
from clipserve_gateway.index.lance.filters import text
from clipserve_gateway.index.lance.maintenance_schedule import Upkeep
from clipserve_gateway.index.lance.sync import TableSync

COMMITS = 20
"""Upkeep comes sooner than with points: documents are read all the time, and their table is small."""
KEPT_BYTES = 32 << 20
"""Of documents as they were at the table's present version."""
LISTED_BYTES = 8 << 20
"""The same, of those below a prefix."""

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
    """Shared by all processes on one store."""

    def __init__(self, table: Any, sync: TableSync) -> None:
        self._table = table
        self._sync = sync
        self._writing = asyncio.Lock()
        self._upkeep = Upkeep(table, table.name, self._writing, commits=COMMITS, sync=sync)
        self._kept: LRUCache[str, tuple[Document | None]] = LRUCache(KEPT_BYTES, size)
        self._kept_version = 0
        self._lists: LRUCache[str, tuple[int, list[Document]]] = LRUCache(LISTED_BYTES, list_size)
        """By prefix: a version of the table, and the documents that have it then."""

    @classmethod
    async def open(cls, database: Any, table: str, sync: TableSync) -> LanceDocuments:
        """The documents of a table, which is made if there is none."""
        documents = cls(await database.create_table(table, schema=SCHEMA, mode="create", exist_ok=True), sync)
        await sync.sync()
        return documents

    async def get(self, key: str) -> Document | None:
        """See Engine. Asks the store for the table's version; reads the row where that has changed."""
        version = await self._table.version()
        if version != self._kept_version:
            self._kept.clear()
            self._kept_version = version
        if key not in self._kept:
            # What is read may be newer than `version`: then the next call finds another one and reads anew.
            rows = await self._rows(f"key = {text(key)}")
            found = (document(rows[0]) if rows else None,)
            if size(found) > KEPT_BYTES or self._kept_version != version:
                return found[0]
            self._kept[key] = found
        return self._kept[key][0]

    async def put(self, key: str, value: bytes, *, version: int) -> bool:
        """See Engine."""
        there = await self.get(key)
        if (there.version if there else 0) != version:
            return False
        name = secrets.token_hex(8)
        row = {"key": key, "version": version + 1, "value": value, "writing": name}
        rows = pa.Table.from_pylist([row], schema=SCHEMA)
        condition = f"target.version = {version}" if version else False
        async with self._writing:
            self._sync.check()
            result = await merge(self._table, "key", rows, replace=condition)
            await self._sync.sync()
        self._upkeep.committed()
        if result.num_inserted_rows + result.num_updated_rows == 1:
            return True
        # A commit whose answer was lost on the way is repeated, and then finds itself.
        stored = await self._rows(f"key = {text(key)}")
        return bool(stored) and stored[0]["writing"] == name

    async def delete(self, key: str, *, version: int) -> bool:
        """See Engine."""
        there = await self.get(key)
        if there is None or there.version != version:
            return False
        condition = f"key = {text(key)} AND version = {version}"
        async with self._writing:
            self._sync.check()
            result = await retrying(lambda: self._table.delete(condition))
            await self._sync.sync()
        self._upkeep.committed()
        return bool(result.num_deleted_rows)

    async def having(self, prefix: str) -> list[Document]:
        """See Engine.documents. Reads them where the table's version has changed."""
        version = await self._table.version()
        kept = self._lists.get(prefix)
        if kept is None or kept[0] != version:
            # What is read may be newer than `version`: then the next call finds another one and reads anew.
            rows = await self._rows(f"starts_with(key, {text(prefix)})")
            kept = version, sorted(map(document, rows), key=lambda it: it.key)
            self._lists.pop(prefix, None)
            if list_size(kept) <= LISTED_BYTES:
                self._lists[prefix] = kept
        return list(kept[1])

    async def erase(self) -> None:
        """Takes deleted documents out of the table's files, in two visits."""
        await self._upkeep.erase()

    async def purge(self) -> None:
        """See Engine.purge_documents."""
        await self._upkeep.erase(dt.timedelta(seconds=1), wait=True)

    async def close(self) -> None:
        """Waits for upkeep under way."""
        await self._upkeep.close()

    async def _rows(self, condition: str) -> list[dict[str, Any]]:
        return (await self._table.query().where(condition).to_arrow()).to_pylist()


def document(row: dict[str, Any]) -> Document:
    """The document of a row."""
    return Document(row["key"], row["value"], row["version"])


def size(kept: tuple[Document | None]) -> int:
    """About the bytes that a kept document takes."""
    return 256 + (len(kept[0].value) if kept[0] else 0)


def list_size(kept: tuple[int, list[Document]]) -> int:
    """About the bytes that a kept list takes."""
    return sum(map(size, ((it,) for it in kept[1])), 256)
