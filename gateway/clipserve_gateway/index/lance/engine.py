"""LanceDB, the embedded engine: a folder on disk, or object storage."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from typing import Any

from clipserve_gateway.errors import TableNotFound
from clipserve_gateway.index.lance.commits import guarded, storage_failed
from clipserve_gateway.index.lance.lease import LEASES, Lease
from clipserve_gateway.index.lance.maintenance import add_schema_metadata
from clipserve_gateway.index.lance.maintenance_schedule import TableMaintenance
from clipserve_gateway.index.lance.rows import arrow_schema
from clipserve_gateway.index.lance.store import CATALOG, LanceStore
from clipserve_gateway.index.lance.sweep import Sweep
from clipserve_gateway.index.lance.sync import sync_path
from clipserve_gateway.index.lance.table import LanceTable
from clipserve_gateway.index.values import Filter, Hit, Point, TableSpec, TableStatus
from clipserve_gateway.process.cores import available_cores
from clipserve_gateway.types import Floats

FACTS = b"clipserve.facts"
"""Key of a table's facts in the metadata of its schema."""
PURGE_KEEP = dt.timedelta(seconds=2)
"""Time for reads in progress at a purge; then it removes the versions that they use."""
READS_PER_CORE, LEAST_READS = 2, 4
"""Reads of a local folder at a time. LanceDB keeps a thread for each file that was ever read at once; more
reads than cores only take turns on them. Measured under mixed load on two cores: 34 threads without a limit,
and more with each peak; 29 with it, and no more after a minute."""
REMOTE_READS = 64
"""Reads of object storage at a time; they mostly wait for the network."""


class LanceEngine(LanceStore):
    """See Engine. `uri` is a folder, or `s3://bucket/prefix`.

    Every read sees all writes that any process on the store acknowledged before. Processes may share a store:
    a folder on a local disk if they run on one machine, else object storage. Network file systems do not
    guarantee what commits need.

    Object storage takes its region and credentials from the usual variables: AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, or the machine's own role. Servers other than
    Amazon's need AWS_ENDPOINT (or AWS_ENDPOINT_URL), and AWS_ALLOW_HTTP=true for plain HTTP. The server must
    support `If-None-Match` on PUT: without it, processes overwrite each other's commits.
    """

    name = "lancedb"
    keeps_sources = True

    def __init__(self, uri: str, *, sync_writes: bool = True, erase_seconds: float = 0) -> None:
        """
        Args:
            sync_writes: a write to a folder returns after its files are synced to the disk.
            erase_seconds: time within which deleted points leave all files; 0 leaves that to `purge`.
        """
        super().__init__(uri, sync_writes=sync_writes)
        self._sweep = Sweep(self._all_tables, self._erase, erase_seconds)
        self._tables: dict[str, LanceTable] = {}
        """Open tables by name; all callers share them."""
        local = max(LEAST_READS, READS_PER_CORE * available_cores())
        self._reads = asyncio.Semaphore(REMOTE_READS if self._folder is None else local)

    async def open(self) -> None:
        """Opens the store, and starts to erase deleted points."""
        await super().open()
        self._sweep.start()

    async def close(self) -> None:
        await self._sweep.close()
        for table in list(self._tables.values()):
            await table.close()
        self._tables.clear()
        await super().close()

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        await self._ready()
        schema = arrow_schema(table).with_metadata({FACTS: facts})
        async with guarded():
            try:
                await self._database.create_table(table.name, schema=schema, mode="create")
            except Exception as error:
                # On a full disk, an incomplete table would remain and be listed.
                if "already exists" not in str(error):
                    with contextlib.suppress(Exception):
                        await self._database.drop_table(table.name, ignore_missing=True)
                raise
            await (await self._recovered(table.name)).sync()

    async def drop_table(self, table: str) -> None:
        await self._ready()
        async with guarded():
            opened = self._tables.pop(table, None)
            if opened is not None:
                await opened.close()
            await self._database.drop_table(table, ignore_missing=True)
            if self._folder is not None and self._sync_writes:
                await asyncio.to_thread(sync_path, self._folder)

    async def tables(self) -> list[str]:
        return [name for name in await self._all_tables() if name not in (CATALOG, LEASES)]

    async def _erase(self, name: str) -> None:
        """Removes deleted rows from a table's files. Takes two calls."""
        opened = self._tables.get(name) or (await self._ready() if name == CATALOG else None)
        if opened is not None:
            await opened.maintenance.erase()
        elif name != LEASES:
            lease, sync = Lease(self._open_leases, name).held, await self._recovered(name)
            table = await self._database.open_table(name)
            await TableMaintenance(table, name, asyncio.Lock(), lease=lease, sync=sync).erase()

    async def purge(self, table: TableSpec) -> None:
        async with self._table(table) as opened:
            await opened.maintenance.erase(PURGE_KEEP, wait=True)

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        await self._ready()
        async with guarded():
            await add_schema_metadata(await self._database.open_table(table), FACTS, facts)

    async def table_facts(self, table: str) -> bytes:
        await self._ready()
        async with guarded():
            schema = await (await self._database.open_table(table)).schema()
        return bytes((schema.metadata or {}).get(FACTS, b""))

    def check(self, table: TableSpec, point: Point) -> None:
        """See Engine. LanceDB can hold every point that the contract allows."""

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        """See Engine. Points that need several commits are written one commit after the other."""
        async with self._table(table) as opened:
            await opened.upsert(points, replace=replace)

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        async with self._table(table) as opened:
            return await opened.delete(ids)

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        async with self._table(table) as opened:
            return await opened.delete_where(filter)

    async def fetch(self, table: TableSpec, ids: Sequence[str], **options: Any) -> list[Point]:
        async with self._reading(table) as opened:
            return await opened.fetch(ids, **options)

    async def scroll(self, table: TableSpec, **options: Any) -> list[Point]:
        async with self._reading(table) as opened:
            return await opened.scroll(**options)

    async def search(self, table: TableSpec, embedding: Floats, **options: Any) -> list[Hit]:
        """See Engine. Always consistent."""
        async with self._reading(table) as opened:
            return await opened.search(embedding, **options)

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        async with self._reading(table) as opened:
            return await opened.sample(limit)

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        async with self._reading(table) as opened:
            return await opened.count(filter)

    async def status(self, table: TableSpec) -> TableStatus:
        async with self._reading(table) as opened:
            return await opened.status()

    async def optimize(self, table: TableSpec) -> None:
        async with self._table(table) as opened:
            await opened.maintenance.run_now()

    @contextlib.asynccontextmanager
    async def _reading(self, spec: TableSpec) -> AsyncIterator[LanceTable]:
        """The table, for one of the reads that are allowed at a time."""
        async with self._reads, self._table(spec) as opened:
            yield opened

    @contextlib.asynccontextmanager
    async def _table(self, spec: TableSpec) -> AsyncIterator[LanceTable]:
        """The table. Any error after it was dropped becomes TableNotFound."""
        await self._ready()
        try:
            opened = self._tables.get(spec.name)
            if opened is None or opened.spec != spec:
                opened = await self._open_table(spec)
            yield opened
        except Exception as error:
            if await self._is_dropped(spec.name):
                if (dropped := self._tables.pop(spec.name, None)) is not None:
                    await dropped.close()
                raise TableNotFound(f"table {spec.name!r} does not exist") from error
            raise storage_failed(error) from error

    async def _open_table(self, spec: TableSpec) -> LanceTable:
        sync = await self._recovered(spec.name)
        table = await self._database.open_table(spec.name)
        # Another call may have opened it meanwhile.
        opened = self._tables.get(spec.name)
        if opened is None:
            lease = Lease(self._open_leases, spec.name)
            opened = self._tables[spec.name] = LanceTable(table, spec, lease, sync)
        opened.adopt(spec)
        return opened

    async def _is_dropped(self, table: str) -> bool:
        try:
            await self._database.open_table(table)
        except Exception as error:
            return "not found" in str(error).lower()
        return False
