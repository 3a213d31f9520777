"""One collection in LanceDB: writes gathered into few commits, kept in good shape behind the scenes."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from clipserve_gateway.errors import ClipserveError, StorageFailed
from clipserve_gateway.index import lance_filter, lance_rows
from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, Point

log = logging.getLogger(__name__)

ROWS_PER_COMMIT = 4096
COMMITS_PER_OPTIMIZE = 100
"""Every commit leaves a small file behind; searches slow down with their number."""
KEEP_VERSIONS = dt.timedelta(minutes=10)
"""Old versions stay for readers that are still at them."""
INDEX_FROM_ROWS = 20_000
"""From here on an approximate index is faster than comparing with every point (40 ms at 100,000)."""
ID_INDEX_FROM_ROWS = 5_000
EF, REFINE = 128, 2
CONFLICT_RETRIES = 8


class LanceTable:
    """A LanceDB table and its writer.

    Upserts that arrive while another commit is being written are written together in the next one; each
    returns when its own commit is on disk.
    """

    def __init__(self, table: Any, spec: CollectionSpec) -> None:
        self._table = table
        self.spec = spec
        self._waiting: list[tuple[Sequence[Point], asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()
        self._commits = 0
        self._upkeep: asyncio.Task[None] | None = None

    async def upsert(self, points: Sequence[Point]) -> None:
        """See Engine."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((points, done))
        async with self._writing:
            if not done.done():
                await asyncio.shield(self._commit())
        await done

    async def _commit(self) -> None:
        """Writes what is waiting; of two points with one id, the later one stays."""
        batch: list[tuple[Sequence[Point], asyncio.Future[None]]] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0][0]) <= ROWS_PER_COMMIT):
            batch.append(self._waiting.pop(0))
            rows += len(batch[-1][0])
        latest = {point.id: point for points, _ in batch for point in points}
        try:
            table = await asyncio.to_thread(lance_rows.to_arrow, self.spec, list(latest.values()))
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            await retrying(lambda: merge.execute(table))
        except Exception as error:
            failure = storage_failed(error)
            for _, done in batch:
                if not done.cancelled():
                    done.set_exception(failure)
                    # A caller that was cancelled in the meantime does not come for it.
                    done.exception()
            return
        for _, done in batch:
            if not done.cancelled():
                done.set_result(None)
        self._committed()

    async def delete(self, ids: Sequence[str]) -> int:
        """See Engine."""
        async with self._writing:
            result = await retrying(lambda: self._table.delete(among(ids)))
        self._committed()
        return int(result.num_deleted_rows)

    async def fetch(self, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """See Engine."""
        wanted = ["id", *lance_filter.columns(self.spec.schema).values()]
        wanted += ["embedding"] if with_embeddings else []
        table = await self._table.query().where(among(ids)).select(wanted).to_arrow()
        vectors = lance_rows.embeddings(table, self.spec.dim) if with_embeddings else [None] * len(table)
        rows = zip(table["id"].to_pylist(), lance_rows.payloads(self.spec, table), vectors, strict=True)
        found = {id: Point(id, payload, vector) for id, payload, vector in rows}
        return [found[id] for id in ids if id in found]

    async def search(
        self, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        """See Engine. LanceDB's cosine distance is 1 − cosine."""
        wanted = ["id", "_distance"]
        wanted += lance_filter.columns(self.spec.schema).values() if with_payload else []
        query = self._table.vector_search(embedding).distance_type("cosine").limit(top_k)
        query = query.ef(max(EF, 2 * top_k)).refine_factor(REFINE).select(wanted)
        if filter is not None:
            query = query.where(lance_filter.render(filter, self.spec.schema))
        table = await query.to_arrow()
        scores = np.clip(1 - table["_distance"].to_numpy().astype(np.float32), -1, 1)
        rows = zip(
            table["id"].to_pylist(), scores.tolist(), lance_rows.payloads(self.spec, table), strict=True
        )
        return sorted((Hit(*row) for row in rows), key=lambda hit: (-hit.score, hit.id))

    async def count(self, filter: Filter | None) -> int:
        """See Engine."""
        condition = None if filter is None else lance_filter.render(filter, self.spec.schema)
        return int(await self._table.count_rows(condition))

    def _committed(self) -> None:
        """Begins upkeep now and then."""
        self._commits += 1
        idle = self._upkeep is None or self._upkeep.done()
        if idle and self._commits >= COMMITS_PER_OPTIMIZE:
            self._commits = 0
            self._upkeep = asyncio.create_task(self._keep_up())

    async def _keep_up(self) -> None:
        """Merges small files, drops old versions, and indexes once there is enough to index."""
        from lancedb.index import BTree, HnswSq

        try:
            rows = await self._table.count_rows()
            indexed = {column for index in await self._table.list_indices() for column in index.columns}
            if rows >= ID_INDEX_FROM_ROWS and "id" not in indexed:
                await self._table.create_index("id", config=BTree())
            if rows >= INDEX_FROM_ROWS and "embedding" not in indexed:
                log.info("indexing %d points of %s", rows, self.spec.name)
                config = HnswSq(distance_type="cosine", num_partitions=1)
                await self._table.create_index("embedding", config=config)
            await self._table.optimize(cleanup_older_than=KEEP_VERSIONS)
        except Exception as error:
            # Upkeep is repeated; only slowness is at stake.
            log.warning("upkeep of %s failed: %s", self.spec.name, error)

    async def close(self) -> None:
        """Waits for the write under way and for upkeep."""
        async with self._writing:
            pass
        if self._upkeep is not None:
            await asyncio.wait([self._upkeep])


def among(ids: Sequence[str]) -> str:
    """The condition that a row's id is one of these."""
    return f"id IN ({', '.join(lance_filter.text(id) for id in ids)})"


async def retrying(write: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats a write that another process's commit got in the way of."""
    attempt = 0
    while True:
        try:
            return await write()
        except Exception as error:
            attempt += 1
            if "commit conflict" not in str(error).lower() or attempt == CONFLICT_RETRIES:
                raise
        await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)


def storage_failed(error: Exception) -> ClipserveError:
    """What an engine's own error means to a caller."""
    if isinstance(error, ClipserveError):
        return error
    return StorageFailed(f"the index could not read or write: {str(error)[:200]}")
