"""Documents in a Milvus collection of their own, beside the tables of points.

A document's head row says its version and how many rows hold its value. The rows of a version are written
before the head that names them, and removed after the next head is there, so that readers find one version
whole. Milvus has no compare-and-set: within a process a lock makes it one; of two processes that write one
key in the same moment, both may believe that they won, and the later one did.
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

TABLE = "clipserve_catalog"
CHUNK = 45_000
"""Bytes of a value in one row: base64 makes 60,000 of them, and a text column takes 65,535."""
ROWS_AT_ONCE = 200
READS = 5
VECTOR = [1.0, 0.0]
"""Milvus wants a vector in every collection."""
HEADS = "part == 0"
FIELDS = ["key", "version", "parts", "value"]


class MilvusDocuments:
    """See Engine's documents."""

    def __init__(self, connection: MilvusConnection) -> None:
        self._connection = connection
        self._writing = asyncio.Lock()

    @staticmethod
    def add_columns(milvus: Any, schema: Any) -> None:
        """Adds the columns to a schema of pymilvus."""
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
            found = await self._whole(heads[0])
            if found is not None:
                return found
        raise StorageFailed(f"document {key[:80]!r} changes faster than it can be read")

    async def _whole(self, head: dict[str, Any]) -> Document | None:
        """The document of a head row; None if the next version has come in between."""
        value, parts = head["value"], int(head["parts"])
        for first in range(1, parts, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, parts)
            names = [row(head["key"], head["version"], i) for i in range(first, last)]
            found = await self._query(row_in(names), ["part", "value"])
            if len(found) < last - first:
                return None
            value += "".join(it["value"] for it in sorted(found, key=lambda it: it["part"]))
        return Document(head["key"], base64.b64decode(value), int(head["version"]))

    async def below(self, prefix: str) -> list[Document]:
        """The documents whose keys begin with `prefix`, by key."""
        # The last code point comes after whatever a key may go on with.
        after = f"key >= {literal(prefix)} and key < {literal(prefix + chr(0x10FFFF))}"
        heads = await self._query(f"{after} and {HEADS}", FIELDS)
        found = [await self._whole(head) or await self.get(head["key"]) for head in heads]
        return sorted((it for it in found if it is not None), key=lambda it: it.key)

    async def put(self, key: str, value: bytes, version: int) -> bool:
        """Writes the document if its version still is `version`; whether it was."""
        async with self._writing:
            head = await self._head(key)
            if (0 if head is None else head["version"]) != version:
                return False
            text = [
                base64.b64encode(value[i : i + CHUNK]).decode() for i in range(0, max(1, len(value)), CHUNK)
            ]
            rows = [
                {"row": row(key, version + 1, i) if i else key, "embedding": VECTOR, "key": key}
                | {"version": version + 1, "part": i, "parts": len(text), "value": part}
                for i, part in enumerate(text)
            ]
            for first in range(1, len(rows), ROWS_AT_ONCE):
                await self._connection.call("upsert", TABLE, rows[first : first + ROWS_AT_ONCE])
            await self._connection.call("upsert", TABLE, rows[:1])
            await self._drop_parts(head)
            return True

    async def delete(self, key: str, version: int) -> bool:
        """Deletes the document if its version still is `version`; whether it was."""
        async with self._writing:
            head = await self._head(key)
            if head is None or head["version"] != version:
                return False
            await self._connection.call("delete", TABLE, filter=row_in([key]))
            await self._drop_parts(head)
            return True

    async def _head(self, key: str) -> dict[str, Any] | None:
        found = await self._query(row_in([key]), ["key", "version", "parts"])
        return found[0] if found else None

    async def _drop_parts(self, head: dict[str, Any] | None) -> None:
        if head is not None and head["parts"] > 1:
            rows = [row(head["key"], head["version"], i) for i in range(1, head["parts"])]
            await self._connection.call("delete", TABLE, filter=row_in(rows))

    async def _query(self, filter: str, fields: list[str]) -> list[dict[str, Any]]:
        found = await self._connection.call(
            "query", TABLE, filter=filter, output_fields=fields, consistency_level="Strong"
        )
        return list(found)


def row(key: str, version: int, part: int) -> str:
    """Name of a row that holds part of a value; keys hold no line feed."""
    return f"{key}\n{version}\n{part}"


def row_in(rows: Sequence[str]) -> str:
    """The condition that a row is one of these."""
    return f"row in [{', '.join(map(literal, rows))}]"
