"""One collection in LanceDB: writes gathered into few commits, reads as the domain wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from clipserve_gateway.index import lance_filter, lance_rows
from clipserve_gateway.index.lance_upkeep import Index, Upkeep
from clipserve_gateway.index.lance_write import merge, retrying, storage_failed
from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, PayloadType, Point

ROWS_PER_COMMIT = 4096
INDEX_FROM_ROWS = 20_000
"""From here on an approximate index is faster than comparing with every point (40 ms at 100,000)."""
ID_INDEX_FROM_ROWS = 5_000
EF, REFINE = 128, 2
MOST_TIES = 10_000
"""Of more points with one score than this, those with the first ids may be missed."""


class LanceTable:
    """A LanceDB table and its writer.

    Upserts that arrive while a commit is being written are written together in the next one; each returns
    when its own commit is on disk.
    """

    def __init__(self, table: Any, spec: CollectionSpec) -> None:
        self._table = table
        self.spec = spec
        self._columns = list(lance_filter.columns(spec.schema).values())
        self._waiting: list[tuple[Sequence[Point], asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()
        self._writer: asyncio.Task[None] | None = None
        self._upkeep = Upkeep(table, spec.name, self._writing, indexes(spec))

    async def upsert(self, points: Sequence[Point]) -> None:
        """See Engine. Cancelled before its commit has begun, it writes nothing."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((points, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name=f"writer of {self.spec.name}")
        await done

    async def _write(self) -> None:
        """Commits until nothing waits. A task of its own: no caller's cancellation stops a commit."""
        while self._waiting:
            async with self._writing:
                await self._commit(self._next_batch())

    def _next_batch(self) -> list[tuple[Sequence[Point], asyncio.Future[None]]]:
        """What waits, up to a commit's size; without the upserts that were cancelled."""
        batch: list[tuple[Sequence[Point], asyncio.Future[None]]] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0][0]) <= ROWS_PER_COMMIT):
            points, done = self._waiting.pop(0)
            if not done.cancelled():
                batch.append((points, done))
                rows += len(points)
        return batch

    async def _commit(self, batch: Sequence[tuple[Sequence[Point], asyncio.Future[None]]]) -> None:
        """Writes a batch and tells its callers; of two points with one id, the later one stays."""
        latest = {point.id: point for points, _ in batch for point in points}
        try:
            if latest:
                table = await asyncio.to_thread(lance_rows.to_arrow, self.spec, list(latest.values()))
                await merge(self._table, "id", table, replace=True)
                self._upkeep.committed()
        except Exception as error:
            for _, done in batch:
                if not done.cancelled():
                    done.set_exception(storage_failed(error))
                    # A caller that is cancelled at this moment does not come for it.
                    done.exception()
        for _, done in batch:
            if not done.done():
                done.set_result(None)

    async def delete(self, ids: Sequence[str]) -> int:
        """See Engine."""
        async with self._writing:
            result = await retrying(lambda: self._table.delete(among(ids)))
        self._upkeep.committed()
        return int(result.num_deleted_rows)

    async def fetch(self, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """See Engine."""
        wanted = ["id", *self._columns] + (["embedding"] if with_embeddings else [])
        table = await self._table.query().where(among(ids)).select(wanted).to_arrow()
        vectors = lance_rows.embeddings(table, self.spec.dim) if with_embeddings else [None] * len(table)
        rows = zip(table["id"].to_pylist(), lance_rows.payloads(self.spec, table), vectors, strict=True)
        found = {id: Point(id, payload, vector) for id, payload, vector in rows}
        return [found[id] for id in ids if id in found]

    async def search(
        self, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        """See Engine. LanceDB's cosine distance is 1 − cosine."""
        query = self._table.vector_search(embedding).distance_type("cosine").refine_factor(REFINE)
        query = query.select(["id", "_distance", *(self._columns if with_payload else [])])
        if filter is not None:
            query = query.where(lance_filter.render(filter, self.spec.schema))
        # One more than asked for tells whether the last place is shared; then more are looked at.
        limit = top_k + 1
        while True:
            table = await query.limit(limit).ef(max(EF, 2 * limit)).to_arrow()
            distances = table["_distance"].to_numpy()
            if len(table) < limit or distances[-1] > distances[top_k - 1] or limit >= MOST_TIES:
                break
            limit = min(4 * limit, MOST_TIES)
        scores = np.clip(1 - distances.astype(np.float32), -1, 1).tolist()
        rows = zip(table["id"].to_pylist(), scores, lance_rows.payloads(self.spec, table), strict=True)
        return sorted((Hit(*row) for row in rows), key=lambda hit: (-hit.score, hit.id))[:top_k]

    async def count(self, filter: Filter | None) -> int:
        """See Engine."""
        condition = None if filter is None else lance_filter.render(filter, self.spec.schema)
        return int(await self._table.count_rows(condition))

    async def close(self) -> None:
        """Waits for the writes that are under way, and for upkeep."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        async with self._writing:
            pass
        await self._upkeep.close()


def indexes(spec: CollectionSpec) -> list[Index]:
    """The indexes of a collection, each made when it pays."""
    found = [Index("id", ID_INDEX_FROM_ROWS, btree), Index("embedding", INDEX_FROM_ROWS, hnsw)]
    for column, kind in zip(lance_filter.columns(spec.schema).values(), spec.schema.values(), strict=True):
        found.append(Index(column, INDEX_FROM_ROWS, PAYLOAD_INDEXES.get(kind, btree)))
    return found


def hnsw() -> Any:
    """Of embeddings. One graph, however many points: partitions lose text queries."""
    from lancedb.index import HnswSq

    return HnswSq(distance_type="cosine", num_partitions=1)


def btree() -> Any:
    """Of ids and of values that have an order."""
    from lancedb.index import BTree

    return BTree()


def bitmap() -> Any:
    """Of values of which there are few."""
    from lancedb.index import Bitmap

    return Bitmap()


def label_list() -> Any:
    """Of lists."""
    from lancedb.index import LabelList

    return LabelList()


PAYLOAD_INDEXES: dict[PayloadType, Callable[[], Any]] = {
    PayloadType.BOOL: bitmap,
    PayloadType.STRING_LIST: label_list,
}
"""Those that are not btrees."""


def among(ids: Sequence[str]) -> str:
    """The condition that a row's id is one of these."""
    return f"id IN ({', '.join(lance_filter.text(id) for id in ids)})"
