"""Points in the order of their ids, page by page.

LanceDB sorts by reading every id that is left, so a page alone costs as much as sixteen: the ends of the next
pages are noted on the way, and a page whose end is known is a range that the id's index answers.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

import pyarrow as pa
from cachetools import LRUCache

from clipserve_gateway.index.lance.filters import text

PAGES_AHEAD = 16
NOTED = 1024
"""Pages whose ends are kept, of all scrolls through a table together."""


class Scroll:
    """Of one table."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._ends: LRUCache[tuple[str, int, bytes], str] = LRUCache(NOTED)
        """Page (the id before it, its length, the condition's digest) → its last id when it was read.

        Digests, since a condition may have hundreds of kilobytes: a key has 1 KiB at most.
        """

    async def page(self, after: str, limit: int, condition: str | None, columns: list[str]) -> pa.Table:
        """Up to `limit` rows whose ids follow `after`, by id."""
        end = self._ends.pop((after, limit, digest(condition)), None)
        if end is not None:
            rows = await self._range(after, end, condition, columns)
            # Fewer: some are gone since, and rows beyond this end belong to the page.
            if len(rows) >= limit:
                return rows[:limit]
        end = await self._look_ahead(after, limit, condition)
        if end is None:
            return await self._range(after, after, condition, columns)
        return (await self._range(after, end, condition, columns))[:limit]

    async def _look_ahead(self, after: str, limit: int, condition: str | None) -> str | None:
        """The last id of the page, None if it has none; notes the ends of the pages that follow."""
        query = importlib.import_module("lancedb.query")
        order = [query.ColumnOrdering(column_name="id", ascending=True)]
        found = self._table.query().where(both(f"id > {text(after)}", condition)).select(["id"])
        ids = (await found.order_by(order).limit(limit * PAGES_AHEAD).to_arrow())["id"].to_pylist()
        key = digest(condition)
        for start in range(limit, len(ids) - limit + 1, limit):
            self._ends[ids[start - 1], limit, key] = ids[start + limit - 1]
        return ids[min(limit, len(ids)) - 1] if ids else None

    async def _range(self, after: str, end: str, condition: str | None, columns: list[str]) -> pa.Table:
        bounds = f"id > {text(after)} AND id <= {text(end)}"
        rows = await self._table.query().where(both(bounds, condition)).select(columns).to_arrow()
        return rows.sort_by("id")


def digest(condition: str | None) -> bytes:
    """SHA-256 of a condition; of the empty string for none."""
    return hashlib.sha256((condition or "").encode()).digest()


def both(bounds: str, condition: str | None) -> str:
    """Two conditions at once."""
    return bounds if condition is None else f"{bounds} AND {condition}"
