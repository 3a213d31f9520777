"""The Milvus engine: points in one Milvus collection for each table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipserve_gateway.flow.concurrency import KeyLocks
from clipserve_gateway.index.milvus.filters import EVERY, literal, render
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.index.milvus.rows import (
    LOTS,
    check,
    column_names,
    id_in,
    point_bytes,
    to_point,
    to_row,
)
from clipserve_gateway.index.milvus.search import search_params, to_hits
from clipserve_gateway.index.milvus.store import MilvusStore
from clipserve_gateway.index.values import Filter, Hit, IndexState, Point, TableSpec, TableStatus
from clipserve_gateway.process.batches import batches
from clipserve_gateway.types import Floats

MOST_HITS = 16_384
"""Most rows that Milvus returns for one query or search."""
BATCH_ROWS, BATCH_BYTES = 2_000, 16 << 20
"""Most points and bytes of one upsert."""
IDS_AT_ONCE = 1_000
TIES = 16
"""Extra hits of a search, so that hits with the same score as the last one can be ordered by id."""
INDEX_POLL_SECONDS = 0.2


class MilvusEngine(MilvusStore):
    """See Engine. Reads of points see every write; searches see them if `consistent`, or by the options."""

    name = "milvus"
    keeps_sources = False

    def __init__(self, options: MilvusOptions) -> None:
        super().__init__(options)
        self._locks: KeyLocks[tuple[str, str]] = KeyLocks()

    def check(self, table: TableSpec, point: Point) -> None:
        check(point)

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        """See Engine. Without `replace`, points of other processes may still be replaced."""
        async with self._locks.hold((table.name, point.id) for point in points):
            if not replace:
                existing = {point.id for point in await self.fetch(table, [point.id for point in points])}
                points = [point for point in points if point.id not in existing]
            for batch, _ in batches(points, point_bytes, BATCH_ROWS, BATCH_BYTES):
                await self._call("upsert", table.name, [to_row(table, point) for point in batch])

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        async with self._locks.hold((table.name, id) for id in ids):
            existing = list({point.id for point in await self.fetch(table, ids)})
            for first in range(0, len(existing), IDS_AT_ONCE):
                # pymilvus's argument `ids` is not used: it puts ids between quotes without escaping them.
                await self._call("delete", table.name, filter=id_in(existing[first : first + IDS_AT_ONCE]))
            return len(existing)

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        deleted, after = 0, ""
        while points := await self.scroll(table, after=after, limit=IDS_AT_ONCE, filter=filter):
            after = points[-1].id
            deleted += await self.delete(table, [point.id for point in points])
        return deleted

    async def _query(self, table: TableSpec, filter: str, fields: list[str], **kwargs: Any) -> list[Any]:
        rows = await self._call(
            "query", table.name, filter=filter, output_fields=fields, consistency_level="Strong", **kwargs
        )
        return list(rows)

    async def fetch(
        self,
        table: TableSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        fields = column_names(table, with_embeddings=with_embeddings)
        points: dict[str, Point] = {}
        for first in range(0, len(ids), IDS_AT_ONCE):
            rows = await self._query(table, id_in(ids[first : first + IDS_AT_ONCE]), fields)
            points |= {row["id"]: to_point(table, row) for row in rows}
        return [points[id] for id in ids if id in points]

    async def scroll(
        self,
        table: TableSpec,
        *,
        after: str,
        limit: int,
        filter: Filter | None = None,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        """See Engine. Servers return rows in the order of ids. milvus-lite does not, so all ids are read."""
        where = f"id > {literal(after)}" if after else EVERY
        if filter is not None:
            where += f" and {render(filter, table.schema)}"
        fields = column_names(table, with_embeddings=with_embeddings)
        if self._options.lite:
            rows = await self._query(table, where, ["id"])
            ids = sorted((row["id"] for row in rows), key=str.encode)[:limit]
            return await self.fetch(table, ids, with_embeddings=with_embeddings)
        rows = await self._query(table, where, fields, limit=min(limit, MOST_HITS))
        return sorted((to_point(table, row) for row in rows), key=lambda point: point.id.encode())

    async def search(
        self,
        table: TableSpec,
        embedding: Floats,
        *,
        top_k: int,
        filter: Filter | None = None,
        with_payload: bool = True,
        with_embeddings: bool = False,
        below: float | None = None,
        consistent: bool = False,
    ) -> list[Hit]:
        fields = column_names(table) if with_payload else ["id"]
        fields += ["embedding"] if with_embeddings else []
        limit = top_k + TIES
        while True:
            limit = min(limit, MOST_HITS)
            rows = await self._call(
                "search",
                table.name,
                data=[embedding],
                anns_field="embedding",
                limit=limit,
                filter="" if filter is None else render(filter, table.schema),
                output_fields=fields,
                search_params=search_params(table, limit, below, filtered=filter is not None),
                consistency_level="Strong" if consistent else self._options.consistency.capitalize(),
            )
            hits = to_hits(table, rows[0], fields)
            hits.sort(key=lambda hit: (-hit.score, hit.id))
            # All hits with the score of the last place must be known before the first of them are chosen.
            if len(hits) < limit or limit == MOST_HITS or hits[-1].score < hits[top_k - 1].score:
                return hits[:top_k]
            limit *= 4

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        """See Engine. Points are drawn by the hashes of their ids."""
        count = await self.count(table)
        if not count:
            return np.empty((0, table.dim), np.float32)
        # A fifth more than the requested share, so that there are rarely too few.
        below = min(LOTS, int(LOTS * 1.2 * limit / count))
        rows = await self._query(table, f"lot < {below}", ["embedding"])
        rows = rows[:: max(1, -(-len(rows) // limit))][:limit]
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, table.dim)

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        where = "" if filter is None else render(filter, table.schema)
        return int((await self._query(table, where, ["count(*)"]))[0]["count(*)"])

    async def status(self, table: TableSpec) -> TableStatus:
        """See Engine. Milvus indexes whole segments, and compares the query with all other points."""
        points = await self.count(table)
        if table.index.exact:
            return TableStatus(points, 0, IndexState.NONE)
        index = await self._call("describe_index", table.name, "embedding")
        indexed = min(int(index.get("indexed_rows", 0)), points)
        if int(index.get("pending_index_rows", 0)):
            return TableStatus(points, indexed, IndexState.BUILDING)
        return TableStatus(points, indexed, IndexState.READY if indexed else IndexState.NONE)

    async def purge(self, table: TableSpec) -> None:
        """See Engine. Starts a compaction; Milvus removes old files later, according to its own settings."""
        await self._compact(table.name)

    async def optimize(self, table: TableSpec) -> None:
        """See Engine. Seals the segments and waits until they are indexed."""
        await self._call("flush", table.name)
        # Milvus has no notification, so its state is polled.
        while (await self.status(table)).state is IndexState.BUILDING:  # noqa: ASYNC110
            await asyncio.sleep(INDEX_POLL_SECONDS)
