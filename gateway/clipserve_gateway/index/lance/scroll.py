"""Reads points in the order of their ids, page by page.

LanceDB sorts by reading all remaining ids, so one page costs as much as sixteen. Therefore a sorted read also
remembers where the next pages end. A page whose end is known is a range that the index of ids answers.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from clipserve_gateway.index.lance.filters import sql_string

PAGES_AHEAD = 16
NOTED = 1024
"""Pages of a table whose ends are remembered, for all scrolls together."""


class Scroll:
    """Pages of one table."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._ends: LRUCache[tuple[str, int, bytes], str] = LRUCache(NOTED)
        """Page (the id before it, its length, the condition's digest) → its last id when it was read.

        A condition may have hundreds of kilobytes. With its digest instead, a key has at most 1 KiB.
        """

    async def page(self, after: str, limit: int, condition: str | None, columns: list[str]) -> pa.Table:
        """Up to `limit` rows whose ids follow `after`, ordered by id."""
        end = self._ends.pop((after, limit, digest(condition)), None)
        if end is not None:
            rows = await self._range(after, end, condition, columns)
            # With fewer, some were deleted since, and rows beyond this end belong to the page.
            if len(rows) >= limit:
                return rows[:limit]
        end = await self._look_ahead(after, limit, condition)
        if end is None:
            return await self._range(after, after, condition, columns)
        return (await self._range(after, end, condition, columns))[:limit]

    async def _look_ahead(self, after: str, limit: int, condition: str | None) -> str | None:
        """The last id of the page, None if the page is empty. Remembers the ends of the following pages."""
        lancedb = importlib.import_module("lancedb.query")
        order = [lancedb.ColumnOrdering(column_name="id", ascending=True)]
        bounds = f"id > {sql_string(after)}"
        query = self._table.query().where(joined(bounds, condition)).select(["id"])
        ids = (await query.order_by(order).limit(limit * PAGES_AHEAD).to_arrow())["id"].to_pylist()
        key = digest(condition)
        for start in range(limit, len(ids) - limit + 1, limit):
            self._ends[ids[start - 1], limit, key] = ids[start + limit - 1]
        return ids[min(limit, len(ids)) - 1] if ids else None

    async def _range(self, after: str, end: str, condition: str | None, columns: list[str]) -> pa.Table:
        bounds = f"id > {sql_string(after)} AND id <= {sql_string(end)}"
        rows = await self._table.query().where(joined(bounds, condition)).select(columns).to_arrow()
        return rows.sort_by("id")


def digest(condition: str | None) -> bytes:
    """SHA-256 of a condition; of the empty text if there is none."""
    return hashlib.sha256((condition or "").encode()).digest()


def joined(bounds: str, condition: str | None) -> str:
    """The condition that both hold."""
    return bounds if condition is None else f"{bounds} AND {condition}"
