"""One table of points in LanceDB: reads as the domain wants them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.lance import filters as lance_filter
from clipserve_gateway.index.lance import rows as lance_rows
from clipserve_gateway.index.lance.commits import retrying
from clipserve_gateway.index.lance.indexes import VECTOR_INDEX_FROM_ROWS, indexes
from clipserve_gateway.index.lance.lease import Lease
from clipserve_gateway.index.lance.maintenance_schedule import Upkeep
from clipserve_gateway.index.lance.scroll import Scroll
from clipserve_gateway.index.lance.sync import TableSync
from clipserve_gateway.index.lance.upsert_queue import Writer
from clipserve_gateway.index.values import Filter, Hit, IndexState, Point, TableSpec, TableStatus
from clipserve_gateway.process.off_loop import off_loop
from clipserve_gateway.types import Floats

EF, REFINE = 128, 2
BYTES_IN_A_STEP = 32
"""Of Arrow's columns, as far as off_loop counts: some values of a list each."""
PURGE_KEEP = dt.timedelta(seconds=2)
"""So long may reads go on that were under way at a purge."""
MOST_TIES = 10_000
"""Of more points with one score than this, those with the first ids may be missed."""


class LanceTable:
    """A LanceDB table, its writer and its upkeep."""

    def __init__(self, table: Any, spec: TableSpec, lease: Lease, sync: TableSync) -> None:
        self._table = table
        self.spec = spec
        self._sync = sync
        self._writing = asyncio.Lock()
        self._upkeep = Upkeep(table, spec.name, self._writing, indexes(spec), lease=lease, sync=sync)
        self._writer = Writer(table, spec, self._writing, self._upkeep.committed, sync)
        self._scroll = Scroll(table)
        # Another process may have been killed before its upkeep.
        self._upkeep.committed()

    def adopt(self, spec: TableSpec) -> None:
        """Goes by other index options from now on."""
        self.spec = spec
        self._upkeep.indexes = indexes(spec)

    async def upsert(self, points: Sequence[Point], *, replace: bool) -> None:
        """See Engine."""
        await self._writer.upsert(points, replace=replace)

    async def delete(self, ids: Sequence[str]) -> int:
        """See Engine."""
        return await self._delete(lance_filter.among(ids)) if ids else 0

    async def delete_where(self, filter: Filter) -> int:
        """See Engine."""
        return await self._delete(lance_filter.render(filter, self.spec.schema))

    async def _delete(self, condition: str) -> int:
        async with self._writing:
            self._sync.check()
            result = await retrying(lambda: self._table.delete(condition))
            await self._sync.sync()
        if result.num_deleted_rows:
            self._upkeep.committed()
        return int(result.num_deleted_rows)

    async def fetch(self, ids: Sequence[str], *, with_embeddings: bool, with_sources: bool) -> list[Point]:
        """See Engine."""
        if not ids:
            return []
        wanted = lance_rows.column_names(
            self.spec, with_embeddings=with_embeddings, with_sources=with_sources
        )
        table = await self._table.query().where(lance_filter.among(ids)).select(wanted).to_arrow()
        found = {point.id: point for point in await self._points(table)}
        return [found[id] for id in ids if id in found]

    async def scroll(
        self, after: str, limit: int, filter: Filter | None, *, with_embeddings: bool, with_sources: bool
    ) -> list[Point]:
        """See Engine."""
        wanted = lance_rows.column_names(
            self.spec, with_embeddings=with_embeddings, with_sources=with_sources
        )
        table = await self._scroll.page(after, limit, self._condition(filter), wanted)
        return await self._points(table)

    async def _points(self, table: pa.Table) -> list[Point]:
        return await off_loop(table.nbytes // BYTES_IN_A_STEP, lambda: lance_rows.to_points(self.spec, table))

    async def search(
        self,
        embedding: Floats,
        *,
        top_k: int,
        filter: Filter | None,
        with_payload: bool,
        with_embeddings: bool = False,
        below: float | None = None,
    ) -> list[Hit]:
        """See Engine. LanceDB's cosine distance is 1 − cosine."""
        query = self._table.vector_search(embedding).distance_type("cosine").refine_factor(REFINE)
        bare = ["id", "_distance", *(["embedding"] if with_embeddings else [])]
        query = query.select([*bare, *(columns(self.spec.schema).values() if with_payload else [])])
        if below is not None:
            query = query.distance_range(lower_bound=lance_rows.distance_below(below))
        if self.spec.index.exact or below is not None:
            # The index would look at all that is nearer first.
            query = query.bypass_vector_index()
        if filter is not None:
            query = query.where(self._condition(filter))
        # One more than asked for tells whether the last place is shared; then more are looked at.
        limit = top_k + 1
        while True:
            ef = max(self.spec.index.ef_search or EF, 2 * limit)
            table = await query.limit(limit).ef(ef).to_arrow()
            found = lance_rows.scores(table)
            if len(table) < limit or found[-1] < found[top_k - 1] or limit >= MOST_TIES:
                break
            limit = min(4 * limit, MOST_TIES)
            # Payloads only of those that are answered: of all of them they might fill the memory.
            query = query.select(bare)
        steps = table.nbytes // BYTES_IN_A_STEP
        hits = await off_loop(steps, lambda: lance_rows.to_hits(self.spec, table)[:top_k])
        return await self._with_payloads(hits) if with_payload and limit > top_k + 1 else hits

    async def _with_payloads(self, hits: Sequence[Hit]) -> list[Hit]:
        """Hits that were found without their payloads; without those that are gone since."""
        points = await self.fetch([hit.id for hit in hits], with_embeddings=False, with_sources=False)
        found = {point.id: point.payload for point in points}
        return [replace(hit, payload=found[hit.id]) for hit in hits if hit.id in found]

    async def sample(self, limit: int) -> Floats:
        """See Engine."""
        rows = await self._table.count_rows()
        offsets = np.unique(np.linspace(0, rows - 1, min(limit, rows)).astype(int)).tolist() if rows else []
        if not offsets:
            return np.empty((0, self.spec.dim), np.float32)
        table = await self._table.take_offsets(offsets).select(["embedding"]).to_arrow()
        return lance_rows.embeddings(table, self.spec.dim)

    async def count(self, filter: Filter | None) -> int:
        """See Engine."""
        return int(await self._table.count_rows(self._condition(filter)))

    def _condition(self, filter: Filter | None) -> str | None:
        return None if filter is None else lance_filter.render(filter, self.spec.schema)

    async def status(self) -> TableStatus:
        """See Engine. BUILDING also where an index is due, or lags behind by as much as one is made for."""
        points = await self._table.count_rows()
        there = [index for index in await self._table.list_indices() if "embedding" in index.columns]
        waiting = there[0].num_unindexed_rows if there else points
        if self.spec.index.exact or (not there and points < VECTOR_INDEX_FROM_ROWS):
            return TableStatus(points, 0, IndexState.NONE)
        state = IndexState.BUILDING if waiting >= VECTOR_INDEX_FROM_ROWS else IndexState.READY
        return TableStatus(points, max(points - waiting, 0), state)

    async def optimize(self) -> None:
        """See Engine."""
        await self._upkeep.work()

    async def erase(self) -> None:
        """Takes deleted rows out of the table's files, in two visits."""
        await self._upkeep.erase()

    async def purge(self) -> None:
        """See Engine."""
        await self._upkeep.erase(PURGE_KEEP, wait=True)

    async def close(self) -> None:
        """Waits for the writes that are under way, and for upkeep."""
        await self._writer.close()
        async with self._writing:
            pass
        await self._upkeep.close()
