"""Documents in a separate Milvus collection.

A document's head row holds its version and the number of rows with its value. The rows of a version are
written before their head and removed after the next head is written, so that readers find a version complete.
Milvus has no compare-and-set. Within a process, a lock replaces it. If two processes write the same key at
the same moment, both may report success, and the later write stays.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.filters import literal

CATALOG = "clipserve_catalog"
CHUNK = 45_000
"""Bytes of a value in one row: 60,000 in base64, and a text column takes 65,535."""
ROWS_AT_ONCE = 200
READS = 5
VECTOR = [1.0, 0.0]
"""Every Milvus collection must have a vector."""
HEADS = "part == 0"
FIELDS = ["key", "version", "parts", "value"]


class MilvusDocuments:
    """Reads and writes documents: see Engine."""

    def __init__(self, connection: MilvusConnection) -> None:
        self._connection = connection
        self._writing = asyncio.Lock()

    @staticmethod
    def add_columns(milvus: Any, schema: Any) -> None:
        """Adds the columns to a schema; `milvus` is the module pymilvus."""
        kinds = milvus.DataType
        schema.add_field("row", kinds.VARCHAR, is_primary=True, max_length=2_048)
        schema.add_field("embedding", kinds.FLOAT_VECTOR, dim=len(VECTOR))
        schema.add_field("key", kinds.VARCHAR, max_length=2_048)
        schema.add_field("version", kinds.INT64)
        schema.add_field("part", kinds.INT64)
        schema.add_field("parts", kinds.INT64)
        schema.add_field("value", kinds.VARCHAR, max_length=65_535)

    async def get(self, key: str) -> Document | None:
        """The document under a key."""
        for _ in range(READS):
            heads = await self._query(f"key == {literal(key)} and {HEADS}", FIELDS)
            if not heads:
                return None
            document = await self._complete(heads[0])
            if document is not None:
                return document
        raise StorageFailed(f"document {key[:80]!r} changes faster than it can be read")

    async def _complete(self, head: dict[str, Any]) -> Document | None:
        """The document of a head row; None if the next version was written in between."""
        value, parts = head["value"], int(head["parts"])
        for first in range(1, parts, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, parts)
            names = [row(head["key"], head["version"], i) for i in range(first, last)]
            rows = await self._query(row_in(names), ["part", "value"])
            if len(rows) < last - first:
                return None
            value += "".join(part["value"] for part in sorted(rows, key=lambda part: part["part"]))
        return Document(head["key"], base64.b64decode(value), int(head["version"]))

    async def with_prefix(self, prefix: str) -> list[Document]:
        """The documents whose keys begin with `prefix`, by key."""
        # U+10FFFF, the last code point, sorts after every character of a key.
        in_range = f"key >= {literal(prefix)} and key < {literal(prefix + chr(0x10FFFF))}"
        heads = await self._query(f"{in_range} and {HEADS}", FIELDS)
        documents = [await self._complete(head) or await self.get(head["key"]) for head in heads]
        return sorted(filter(None, documents), key=lambda document: document.key)

    async def put(self, key: str, value: bytes, version: int) -> bool:
        """Writes the document and returns True if its version is `version`."""
        async with self._writing:
            head = await self._head(key)
            if (0 if head is None else head["version"]) != version:
                return False
            parts = [
                base64.b64encode(value[i : i + CHUNK]).decode() for i in range(0, max(1, len(value)), CHUNK)
            ]
            rows = [
                {"row": row(key, version + 1, i) if i else key, "embedding": VECTOR, "key": key}
                | {"version": version + 1, "part": i, "parts": len(parts), "value": part}
                for i, part in enumerate(parts)
            ]
            for first in range(1, len(rows), ROWS_AT_ONCE):
                await self._connection.call("upsert", CATALOG, rows[first : first + ROWS_AT_ONCE])
            await self._connection.call("upsert", CATALOG, rows[:1])
            await self._drop_parts(head)
            return True

    async def delete(self, key: str, version: int) -> bool:
        """Deletes the document and returns True if its version is `version`."""
        async with self._writing:
            head = await self._head(key)
            if head is None or head["version"] != version:
                return False
            await self._connection.call("delete", CATALOG, filter=row_in([key]))
            await self._drop_parts(head)
            return True

    async def _head(self, key: str) -> dict[str, Any] | None:
        heads = await self._query(row_in([key]), ["key", "version", "parts"])
        return heads[0] if heads else None

    async def _drop_parts(self, head: dict[str, Any] | None) -> None:
        if head is not None and head["parts"] > 1:
            rows = [row(head["key"], head["version"], i) for i in range(1, head["parts"])]
            await self._connection.call("delete", CATALOG, filter=row_in(rows))

    async def _query(self, filter: str, fields: list[str]) -> list[dict[str, Any]]:
        rows = await self._connection.call(
            "query", CATALOG, filter=filter, output_fields=fields, consistency_level="Strong"
        )
        return list(rows)


def row(key: str, version: int, part: int) -> str:
    """Name of a row that holds part of a value. Keys contain no line feed."""
    return f"{key}\n{version}\n{part}"


def row_in(rows: Sequence[str]) -> str:
    """The condition that a row is one of these."""
    return f"row in [{', '.join(map(literal, rows))}]"
