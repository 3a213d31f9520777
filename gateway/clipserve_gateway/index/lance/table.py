"""One table of points in LanceDB: reads, writes and maintenance."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.lance.commits import retrying
from clipserve_gateway.index.lance.filters import id_in, render
from clipserve_gateway.index.lance.indexes import VECTOR_INDEX_FROM_ROWS, indexes
from clipserve_gateway.index.lance.lease import Lease
from clipserve_gateway.index.lance.maintenance_schedule import TableMaintenance
from clipserve_gateway.index.lance.rows import (
    column_names,
    distance_below,
    embeddings,
    scores,
    to_hits,
    to_points,
)
from clipserve_gateway.index.lance.scroll import Scroll
from clipserve_gateway.index.lance.sync import TableSync
from clipserve_gateway.index.lance.upsert_queue import UpsertQueue
from clipserve_gateway.index.values import Filter, Hit, IndexState, Point, TableSpec, TableStatus
from clipserve_gateway.process.off_loop import off_loop
from clipserve_gateway.types import Floats

EF, REFINE = 128, 2
BYTES_IN_A_STEP = 32
"""Bytes of Arrow columns that count as one step of `off_loop`."""
MOST_TIES = 10_000
"""If more points than this have the same score, a search may miss those with the first ids."""


class LanceTable:
    """A LanceDB table, its queue of upserts and its maintenance."""

    def __init__(self, table: Any, spec: TableSpec, lease: Lease, sync: TableSync) -> None:
        self._table = table
        self.spec = spec
        self._sync = sync
        self._writing = asyncio.Lock()
        self.maintenance = TableMaintenance(
            table, spec.name, self._writing, indexes(spec), lease=lease.held, sync=sync
        )
        self._upserts = UpsertQueue(table, spec, self._writing, self.maintenance.note_commit, sync)
        self._scroll = Scroll(table)
        # Another process may have been killed before its maintenance.
        self.maintenance.note_commit()

    def adopt(self, spec: TableSpec) -> None:
        """Uses other index options from now on."""
        self.spec = spec
        self.maintenance.indexes = indexes(spec)

    async def upsert(self, points: Sequence[Point], *, replace: bool) -> None:
        await self._upserts.upsert(points, replace=replace)

    async def delete(self, ids: Sequence[str]) -> int:
        return await self._delete(id_in(ids)) if ids else 0

    async def delete_where(self, filter: Filter) -> int:
        return await self._delete(render(filter, self.spec.schema))

    async def _delete(self, condition: str) -> int:
        async with self._writing:
            self._sync.check()
            result = await retrying(lambda: self._table.delete(condition))
            await self._sync.sync()
        if result.num_deleted_rows:
            self.maintenance.note_commit()
        return int(result.num_deleted_rows)

    async def fetch(
        self, ids: Sequence[str], *, with_embeddings: bool = False, with_sources: bool = False
    ) -> list[Point]:
        if not ids:
            return []
        names = column_names(self.spec, with_embeddings=with_embeddings, with_sources=with_sources)
        rows = await self._table.query().where(id_in(ids)).select(names).to_arrow()
        points = {point.id: point for point in await self._points(rows)}
        return [points[id] for id in ids if id in points]

    async def scroll(
        self,
        *,
        after: str,
        limit: int,
        filter: Filter | None = None,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        names = column_names(self.spec, with_embeddings=with_embeddings, with_sources=with_sources)
        return await self._points(await self._scroll.page(after, limit, self._condition(filter), names))

    async def _points(self, rows: pa.Table) -> list[Point]:
        return await off_loop(rows.nbytes // BYTES_IN_A_STEP, lambda: to_points(self.spec, rows))

    async def search(
        self,
        embedding: Floats,
        *,
        top_k: int,
        filter: Filter | None = None,
        with_payload: bool = True,
        with_embeddings: bool = False,
        below: float | None = None,
        consistent: bool = True,
    ) -> list[Hit]:
        """See Engine. Always consistent. LanceDB's cosine distance is 1 − cosine."""
        query = self._table.vector_search(embedding).distance_type("cosine").refine_factor(REFINE)
        bare = ["id", "_distance", *(["embedding"] if with_embeddings else [])]
        query = query.select([*bare, *(columns(self.spec.schema).values() if with_payload else [])])
        if below is not None:
            query = query.distance_range(lower_bound=distance_below(below))
        if self.spec.index.exact or below is not None:
            # The index would visit all nearer points first.
            query = query.bypass_vector_index()
        if filter is not None:
            query = query.where(self._condition(filter))
        # One hit more than requested tells whether the last place is shared. If so, more are read.
        limit = top_k + 1
        while True:
            ef = max(self.spec.index.ef_search or EF, 2 * limit)
            rows = await query.limit(limit).ef(ef).to_arrow()
            cosines = scores(rows)
            if len(rows) < limit or cosines[-1] < cosines[top_k - 1] or limit >= MOST_TIES:
                break
            limit = min(4 * limit, MOST_TIES)
            # Payloads of all hits could fill the memory, so those of the final hits are read afterwards.
            query = query.select(bare)
        steps = rows.nbytes // BYTES_IN_A_STEP
        hits = await off_loop(steps, lambda: to_hits(self.spec, rows)[:top_k])
        return await self._with_payloads(hits) if with_payload and limit > top_k + 1 else hits

    async def _with_payloads(self, hits: Sequence[Hit]) -> list[Hit]:
        """The hits with their payloads, without hits that were deleted meanwhile."""
        points = await self.fetch([hit.id for hit in hits])
        payloads = {point.id: point.payload for point in points}
        return [replace(hit, payload=payloads[hit.id]) for hit in hits if hit.id in payloads]

    async def sample(self, limit: int) -> Floats:
        count = await self._table.count_rows()
        if not count:
            return np.empty((0, self.spec.dim), np.float32)
        offsets = np.unique(np.linspace(0, count - 1, min(limit, count)).astype(int))
        rows = await self._table.take_offsets(offsets.tolist()).select(["embedding"]).to_arrow()
        return embeddings(rows, self.spec.dim)

    async def count(self, filter: Filter | None) -> int:
        return int(await self._table.count_rows(self._condition(filter)))

    def _condition(self, filter: Filter | None) -> str | None:
        return None if filter is None else render(filter, self.spec.schema)

    async def status(self) -> TableStatus:
        """See Engine. The state is BUILDING if VECTOR_INDEX_FROM_ROWS or more rows are not indexed."""
        points = await self._table.count_rows()
        existing = [index for index in await self._table.list_indices() if "embedding" in index.columns]
        waiting = existing[0].num_unindexed_rows if existing else points
        if self.spec.index.exact or (not existing and points < VECTOR_INDEX_FROM_ROWS):
            return TableStatus(points, 0, IndexState.NONE)
        state = IndexState.BUILDING if waiting >= VECTOR_INDEX_FROM_ROWS else IndexState.READY
        return TableStatus(points, max(points - waiting, 0), state)

    async def close(self) -> None:
        """Waits for writes and maintenance in progress."""
        await self._upserts.close()
        async with self._writing:
            pass
        await self.maintenance.close()
