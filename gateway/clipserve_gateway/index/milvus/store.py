"""Opens a Milvus store, and manages its documents and tables."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Callable
from typing import Any

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index import store_format
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.documents import CATALOG, MilvusDocuments
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.index.milvus.rows import add_columns
from clipserve_gateway.index.values import TableSpec

M, EF_CONSTRUCTION = 16, 200


class MilvusStore:
    """See Engine: its documents, and which tables there are."""

    def __init__(self, options: MilvusOptions) -> None:
        self._options = options
        self._connection = MilvusConnection(options)
        self._documents = MilvusDocuments(self._connection)
        self._opening = asyncio.Lock()
        self._opened = False

    async def open(self) -> None:
        """Connects, and creates the collection of documents if it does not exist."""
        async with self._opening:
            if self._opened:
                return
            if CATALOG not in await self._connection.call("list_collections"):
                await self._create(CATALOG, MilvusDocuments.add_columns, index_type="FLAT")
            else:
                await self._connection.call("load_collection", CATALOG)
            store_format.check_format(await self._documents.get(store_format.KEY))
            self._opened = True

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if not self._opened:
            await self.open()
        return await self._connection.call(method, *args, **kwargs)

    async def close(self) -> None:
        """Waits for calls in progress, and disconnects."""
        await self._connection.close()

    async def get_document(self, key: str) -> Document | None:
        await self.open()
        return await self._documents.get(key)

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        """See Engine. The version is compared reliably only within one process."""
        await self.open()
        return await self._documents.put(key, value, version)

    async def delete_document(self, key: str, *, version: int) -> bool:
        """See Engine. The version is compared reliably only within one process."""
        await self.open()
        return await self._documents.delete(key, version)

    async def documents(self, prefix: str) -> list[Document]:
        await self.open()
        return await self._documents.with_prefix(prefix)

    async def purge_documents(self) -> None:
        """See Engine. As for points, Milvus removes old files later."""
        await self._compact(CATALOG)

    async def _compact(self, name: str) -> None:
        await self._call("flush", name)
        await self._call("compact", name)

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        """See Engine. Raises InvalidInput for sources, and for more fields than Milvus has columns."""
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

    async def _create(
        self, name: str, add: Callable[[Any, Any], None], *, description: str = "", **index: Any
    ) -> None:
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
        await self._call("drop_collection", table)

    async def tables(self) -> list[str]:
        return sorted(set(await self._call("list_collections")) - {CATALOG})

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        """See Engine. Does nothing: Milvus cannot add them to an existing table."""

    async def table_facts(self, table: str) -> bytes:
        return str((await self._call("describe_collection", table)).get("description", "")).encode()
