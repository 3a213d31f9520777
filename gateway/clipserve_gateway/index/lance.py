"""LanceDB, the embedded engine: a folder on disk, or object storage.

Beside the collections' tables there is one more, the catalog: what each collection is. A collection exists
from the moment its row is in the catalog: its table is made before, and dropped after.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import importlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from clipserve_gateway.errors import ClipserveError, CollectionExists, CollectionNotFound
from clipserve_gateway.index import lance_filter
from clipserve_gateway.index.lance_rows import arrow_schema
from clipserve_gateway.index.lance_table import LanceTable, retrying, storage_failed
from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, PayloadType, Point

CATALOG = "clipserve_catalog"
PREFIX = "c_"
SPEC_SECONDS = 1.0
"""How long what the catalog says of a collection is believed: so late is a drop by another process seen."""


class LanceEngine:
    """See Engine. `uri` is a folder, or an object storage URI that LanceDB understands."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._database: Any = None
        self._catalog: Any = None
        self._opening = asyncio.Lock()
        self._changing = asyncio.Lock()
        """Held while a collection is made or dropped; between processes, the catalog decides."""
        self._tables: dict[str, LanceTable] = {}
        self._specs: dict[str, tuple[CollectionSpec, float]] = {}

    async def open(self) -> None:
        """Opens the database, once. Importing LanceDB takes a second or two, in a thread."""
        async with self._opening:
            if self._catalog is not None:
                return
            lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
            with guarded():
                # Interval zero: what another process has written is seen by the next read.
                self._database = await lancedb.connect_async(
                    self._uri, read_consistency_interval=dt.timedelta(0)
                )
                self._catalog = await self._database.create_table(
                    CATALOG, schema=catalog_schema(), mode="create", exist_ok=True
                )

    async def create(self, spec: CollectionSpec) -> None:
        """See Engine."""
        await self.open()
        async with self._changing:
            await self._create(spec)

    async def _create(self, spec: CollectionSpec) -> None:
        with guarded():
            if await self._rows(spec.name):
                raise CollectionExists(f"there is a collection {spec.name!r} already", field="name")
            # A table without a row in the catalog is what a crash between the two steps left.
            await self._database.create_table(PREFIX + spec.name, schema=arrow_schema(spec), mode="overwrite")
            row = [{"name": spec.name, "document": write_spec(spec)}]
            merge = self._catalog.merge_insert("name").when_not_matched_insert_all()
            result = await retrying(lambda: merge.execute(row))
        if result.num_inserted_rows != 1:
            raise CollectionExists(f"there is a collection {spec.name!r} already", field="name")

    async def get(self, name: str) -> CollectionSpec:
        """See Engine."""
        known = self._specs.get(name)
        if known is not None and time.monotonic() - known[1] < SPEC_SECONDS:
            return known[0]
        await self.open()
        with guarded():
            rows = await self._rows(name)
        if not rows:
            self._forget(name)
            raise CollectionNotFound(f"there is no collection {name!r}", field="collection")
        spec = read_spec(rows[0])
        self._specs[name] = (spec, time.monotonic())
        return spec

    def _forget(self, name: str) -> None:
        """Drops what is known of a collection that is gone."""
        self._specs.pop(name, None)
        self._tables.pop(name, None)

    async def collections(self) -> list[CollectionSpec]:
        """See Engine."""
        await self.open()
        with guarded():
            return sorted(map(read_spec, await self._rows()), key=lambda spec: spec.name)

    async def drop(self, name: str) -> None:
        """See Engine."""
        table = await self._open_table(name)
        async with self._changing:
            await self._drop(name, table)

    async def _drop(self, name: str, table: LanceTable) -> None:
        with guarded():
            await table.close()
            await retrying(lambda: self._catalog.delete(f"name = {lance_filter.text(name)}"))
            self._forget(name)
            await self._database.drop_table(PREFIX + name)

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        """See Engine."""
        table = await self._open_table(name)
        with guarded():
            await table.upsert(points)

    async def delete(self, name: str, ids: Sequence[str]) -> int:
        """See Engine."""
        table = await self._open_table(name)
        with guarded():
            return await table.delete(ids)

    async def fetch(self, name: str, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """See Engine."""
        table = await self._open_table(name)
        with guarded():
            return await table.fetch(ids, with_embeddings=with_embeddings)

    async def search(
        self, name: str, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        """See Engine."""
        table = await self._open_table(name)
        with guarded():
            return await table.search(embedding, top_k=top_k, filter=filter, with_payload=with_payload)

    async def count(self, name: str, filter: Filter | None) -> int:
        """See Engine."""
        table = await self._open_table(name)
        with guarded():
            return await table.count(filter)

    async def close(self) -> None:
        """See Engine."""
        for table in self._tables.values():
            await table.close()
        self._tables.clear()

    async def _open_table(self, name: str) -> LanceTable:
        """The collection's table, opened anew when the collection was made anew."""
        spec = await self.get(name)
        table = self._tables.get(name)
        if table is None or table.spec != spec:
            with guarded():
                opened = await self._database.open_table(PREFIX + name)
            # Another call may have opened it meanwhile; writers must share one.
            table = self._tables.get(name)
            if table is None or table.spec != spec:
                table = self._tables[name] = LanceTable(opened, spec)
        return table

    async def _rows(self, name: str | None = None) -> list[str]:
        """Documents of the catalog, of one collection or of all."""
        query = self._catalog.query().select(["document"])
        if name is not None:
            query = query.where(f"name = {lance_filter.text(name)}")
        return [str(document) for document in (await query.to_arrow())["document"].to_pylist()]


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Errors of the engine's become StorageFailed."""
    try:
        yield
    except ClipserveError:
        raise
    except Exception as error:
        raise storage_failed(error) from error


def catalog_schema() -> pa.Schema:
    """Name and JSON document of each collection."""
    return pa.schema([pa.field("name", pa.string(), False), pa.field("document", pa.string(), False)])


def write_spec(spec: CollectionSpec) -> str:
    """A collection's document."""
    schema = {name: kind.value for name, kind in spec.schema.items()}
    return json.dumps(asdict(spec) | {"schema": schema, "create_time": spec.create_time.isoformat()})


def read_spec(document: str) -> CollectionSpec:
    """The collection that a document describes."""
    facts = json.loads(document)
    facts["schema"] = {name: PayloadType(kind) for name, kind in facts["schema"].items()}
    facts["create_time"] = dt.datetime.fromisoformat(facts["create_time"])
    return CollectionSpec(**facts)
