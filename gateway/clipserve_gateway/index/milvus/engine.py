"""The Milvus engine: a collection of Milvus for each table, and one for the documents."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.concurrency import Turns
from clipserve_gateway.index import store_format
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.milvus import documents as milvus_documents
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.documents import MilvusDocuments
from clipserve_gateway.index.milvus.filters import EVERY, literal, render
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.index.milvus.rows import (
    LOTS,
    add_columns,
    batches,
    check,
    column_names,
    id_in,
    to_point,
    to_row,
)
from clipserve_gateway.index.milvus.search import search_params, to_hits
from clipserve_gateway.index.values import Filter, Hit, IndexState, Point, TableSpec, TableStatus
from clipserve_gateway.types import Floats

M, EF_CONSTRUCTION = 16, 200
MOST_HITS = 16_384
"""What Milvus returns of one query or search, at most."""
IDS_AT_ONCE = 1_000
TIES = 16
"""Hits asked for beyond top_k, among which those that tie with the last one are put in order."""
INDEX_LOOK_SECONDS = 0.2


class MilvusEngine:
    """See Engine. Reads of points see every write; searches do where they are told to, or by options."""

    name = "milvus"
    keeps_sources = False

    def __init__(self, options: MilvusOptions) -> None:
        self._options = options
        self._connection = MilvusConnection(options)
        self._documents = MilvusDocuments(self._connection)
        self._opening = asyncio.Lock()
        self._opened = False
        self._turns: Turns[tuple[str, str]] = Turns()

    async def open(self) -> None:
        """Connects, and makes the documents' collection if there is none."""
        async with self._opening:
            if self._opened:
                return
            there = await self._connection.call("list_collections")
            if milvus_documents.TABLE not in there:
                await self._create(milvus_documents.TABLE, MilvusDocuments.add_columns, index_type="FLAT")
            else:
                await self._connection.call("load_collection", milvus_documents.TABLE)
            store_format.check_format(await self._documents.get(store_format.KEY))
            self._opened = True

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if not self._opened:
            await self.open()
        return await self._connection.call(method, *args, **kwargs)

    async def close(self) -> None:
        """Waits for what is under way, and disconnects."""
        await self._connection.close()

    async def get_document(self, key: str) -> Document | None:
        """See Engine."""
        await self.open()
        return await self._documents.get(key)

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        """See Engine; compare-and-set within one process only."""
        await self.open()
        return await self._documents.put(key, value, version)

    async def delete_document(self, key: str, *, version: int) -> bool:
        """See Engine; compare-and-set within one process only."""
        await self.open()
        return await self._documents.delete(key, version)

    async def documents(self, prefix: str) -> list[Document]:
        """See Engine."""
        await self.open()
        return await self._documents.below(prefix)

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        """See Engine; InvalidInput for sources, or for more payload fields than Milvus has columns."""
        await self.open()
        options = table.index
        params = {"M": options.m or M, "efConstruction": options.ef_construction or EF_CONSTRUCTION}
        await self._create(
            table.name,
            lambda milvus, schema: add_columns(milvus, schema, table),
            description=facts.decode(),
            index_type="FLAT" if options.exact else "HNSW",
            params={} if options.exact else params,
        )

    async def _create(self, name: str, add: Any, *, description: str = "", **index: Any) -> None:
        milvus = await asyncio.to_thread(importlib.import_module, "pymilvus")
        schema = milvus.MilvusClient.create_schema(
            auto_id=False, enable_dynamic_field=False, description=description
        )
        add(milvus, schema)
        indexes = milvus.MilvusClient.prepare_index_params()
        indexes.add_index("embedding", metric_type="COSINE", **index)
        await self._connection.call(
            "create_collection",
            name,
            schema=schema,
            num_shards=self._options.shards,
            consistency_level="Bounded",
        )
        try:
            await self._connection.call("create_index", name, indexes, sync=False)
            await self._connection.call("load_collection", name, replica_number=self._options.replicas)
        except ClipserveError:
            with contextlib.suppress(ClipserveError):
                await self._connection.call("drop_collection", name)
            raise

    async def drop_table(self, table: str) -> None:
        """See Engine."""
        await self._call("drop_collection", table)

    async def tables(self) -> list[str]:
        """See Engine."""
        return sorted(set(await self._call("list_collections")) - {milvus_documents.TABLE})

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        """See Engine. Milvus has no place for them once the table is made."""

    async def table_facts(self, table: str) -> bytes:
        """See Engine."""
        about = await self._call("describe_collection", table)
        return str(about.get("description", "")).encode()

    def check(self, table: TableSpec, point: Point) -> None:
        """See Engine."""
        check(point)

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        """See Engine; that points without `replace` stay holds against writers of this process only."""
        async with self._turns.after_others((table.name, point.id) for point in points):
            if not replace:
                there = {point.id for point in await self.fetch(table, [point.id for point in points])}
                points = [point for point in points if point.id not in there]
            for batch in batches(points):
                await self._call("upsert", table.name, [to_row(table, point) for point in batch])

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        """See Engine."""
        async with self._turns.after_others((table.name, id) for id in ids):
            there = list({point.id for point in await self.fetch(table, ids)})
            for first in range(0, len(there), IDS_AT_ONCE):
                # Not by `ids`, which pymilvus puts between quotes without escaping them.
                await self._call("delete", table.name, filter=id_in(there[first : first + IDS_AT_ONCE]))
            return len(there)

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        """See Engine."""
        deleted, after = 0, ""
        while points := await self.scroll(table, after=after, limit=IDS_AT_ONCE, filter=filter):
            after = points[-1].id
            deleted += await self.delete(table, [point.id for point in points])
        return deleted

    async def _query(self, table: TableSpec, filter: str, fields: list[str], **kwargs: Any) -> list[Any]:
        found = await self._call(
            "query", table.name, filter=filter, output_fields=fields, consistency_level="Strong", **kwargs
        )
        return list(found)

    async def fetch(
        self,
        table: TableSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        """See Engine."""
        fields = column_names(table, with_embeddings=with_embeddings)
        found: dict[str, Point] = {}
        for first in range(0, len(ids), IDS_AT_ONCE):
            rows = await self._query(table, id_in(ids[first : first + IDS_AT_ONCE]), fields)
            found |= {row["id"]: to_point(table, row) for row in rows}
        return [found[id] for id in ids if id in found]

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
        """See Engine. Servers answer in the order of ids; milvus-lite does not, and is asked for all ids."""
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
        """See Engine."""
        fields = column_names(table) if with_payload else ["id"]
        fields += ["embedding"] if with_embeddings else []
        wanted = top_k + TIES
        while True:
            wanted = min(wanted, MOST_HITS)
            hits = await self._hits(table, embedding, wanted, filter, fields, below, consistent)
            hits.sort(key=lambda hit: (-hit.score, hit.id))
            # All that tie with the last one wanted must be known before the first of them are chosen.
            if len(hits) < wanted or wanted == MOST_HITS or hits[-1].score < hits[top_k - 1].score:
                return hits[:top_k]
            wanted *= 4

    async def _hits(
        self,
        table: TableSpec,
        embedding: Floats,
        wanted: int,
        filter: Filter | None,
        fields: list[str],
        below: float | None,
        consistent: bool,
    ) -> list[Hit]:
        found = await self._call(
            "search",
            table.name,
            data=[embedding],
            anns_field="embedding",
            limit=wanted,
            filter="" if filter is None else render(filter, table.schema),
            output_fields=fields,
            search_params=search_params(table, wanted, below, filtered=filter is not None),
            consistency_level="Strong" if consistent else self._options.consistency.capitalize(),
        )
        return to_hits(table, found[0], fields)

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        """See Engine. Points are drawn by the hashes of their ids."""
        count = await self.count(table)
        if not count:
            return np.empty((0, table.dim), np.float32)
        # A little more than the share wanted, so that chance seldom leaves too few.
        below = min(LOTS, int(LOTS * 1.2 * limit / count))
        rows = await self._query(table, f"lot < {below}", ["embedding"])
        rows = rows[:: max(1, -(-len(rows) // limit))][:limit]
        return np.array([row["embedding"] for row in rows], np.float32).reshape(-1, table.dim)

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        """See Engine."""
        where = "" if filter is None else render(filter, table.schema)
        return int((await self._query(table, where, ["count(*)"]))[0]["count(*)"])

    async def status(self, table: TableSpec) -> TableStatus:
        """See Engine. Milvus indexes whole segments; what is not in one yet is compared with."""
        points = await self.count(table)
        if table.index.exact:
            return TableStatus(points, 0, IndexState.NONE)
        about = await self._call("describe_index", table.name, "embedding")
        indexed = min(int(about.get("indexed_rows", 0)), points)
        if int(about.get("pending_index_rows", 0)):
            return TableStatus(points, indexed, IndexState.BUILDING)
        return TableStatus(points, indexed, IndexState.READY if indexed else IndexState.NONE)

    async def purge(self, table: TableSpec) -> None:
        """See Engine. Asks for a compaction; Milvus removes old files later, by its own settings."""
        await self._call("flush", table.name)
        await self._call("compact", table.name)

    async def purge_documents(self) -> None:
        """See Engine; likewise."""
        await self._call("flush", milvus_documents.TABLE)
        await self._call("compact", milvus_documents.TABLE)

    async def optimize(self, table: TableSpec) -> None:
        """See Engine. Seals what was written and waits until it is indexed."""
        await self._call("flush", table.name)
        # Milvus tells no one when it is done: it has to be asked.
        while (await self.status(table)).state is IndexState.BUILDING:  # noqa: ASYNC110
            await asyncio.sleep(INDEX_LOOK_SECONDS)
