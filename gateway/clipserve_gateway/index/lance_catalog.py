"""The catalog: which collections there are, what each one is, and which table holds its points.

A collection exists from the moment its row is in the catalog: its table is made before, and removed after.
Tables have names of their own, never used twice, so that whoever comes too late at making a collection, or
still holds one that is gone, touches no one else's points.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import logging
import math
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clipserve_gateway.index import lance_filter
from clipserve_gateway.index.lance_upkeep import Upkeep
from clipserve_gateway.index.lance_write import PRIMARY_KEY, merge, retrying
from clipserve_gateway.types import CollectionSpec, PayloadType

log = logging.getLogger(__name__)

CATALOG = "clipserve_collections"
TABLE_NAME = re.compile(r"c_\w+-([0-9a-f]{1,15})-[0-9a-f]{8}")
ORPHAN_SECONDS = 3600
"""A table that is in no catalog for so long is what a crash left; a younger one may be about to be listed."""

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("table", pa.string(), nullable=False),
        pa.field("document", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Entry:
    """A collection and its table."""

    spec: CollectionSpec
    table: str


class LanceCatalog:
    """Shared by all processes on one store."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._writing = asyncio.Lock()
        self._upkeep = Upkeep(table, "the catalog", self._writing)

    @classmethod
    async def open(cls, database: Any) -> LanceCatalog:
        """The catalog of a store, made if there is none."""
        return cls(await database.create_table(CATALOG, schema=SCHEMA, mode="create", exist_ok=True))

    async def add(self, entry: Entry) -> bool:
        """Lists a collection; false if its name is taken, also by another process at this moment."""
        row = {"name": entry.spec.name, "table": entry.table, "document": write_spec(entry.spec)}
        rows = pa.Table.from_pylist([row], schema=SCHEMA)
        async with self._writing:
            inserted = await merge(self._table, "name", rows, replace=False)
        self._upkeep.committed()
        return inserted == 1

    async def find(self, name: str) -> Entry | None:
        """The collection of that name."""
        found = await self._read(f"name = {lance_filter.text(name)}")
        return found[0] if found else None

    async def all(self) -> list[Entry]:
        """All collections, by name."""
        return sorted(await self._read(None), key=lambda entry: entry.spec.name)

    async def remove(self, entry: Entry) -> None:
        """Strikes a collection off; one of its name that was made since stays."""
        name, table = lance_filter.text(entry.spec.name), lance_filter.text(entry.table)
        async with self._writing:
            await retrying(lambda: self._table.delete(f"name = {name} AND `table` = {table}"))
        self._upkeep.committed()

    async def close(self) -> None:
        """Waits for upkeep under way."""
        await self._upkeep.close()

    async def _read(self, condition: str | None) -> list[Entry]:
        query = self._table.query()
        if condition is not None:
            query = query.where(condition)
        rows = (await query.to_arrow()).to_pylist()
        return [Entry(read_spec(row["document"]), row["table"]) for row in rows]


async def drop_orphans(database: Any, catalog: LanceCatalog) -> None:
    """Removes tables that a crash left behind between the two steps of making or dropping a collection.

    Where it cannot, only room is lost, and the next start tries again.
    """
    try:
        # In this order: a table is made before it is listed.
        tables = [name for name in await table_names(database) if born(name) < time.time() - ORPHAN_SECONDS]
        listed = {entry.table for entry in await catalog.all()} if tables else set()
        for name in set(tables) - listed:
            log.info("removing %s, which belongs to no collection", name)
            await database.drop_table(name, ignore_missing=True)
    except Exception as error:
        log.warning("tables that belong to no collection could not be removed: %s", error)


async def table_names(database: Any) -> list[str]:
    """Names of all tables of the store."""
    names: list[str] = []
    token: str | None = None
    while True:
        page = await database.list_tables(page_token=token)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def new_table_name(collection: str) -> str:
    """A name that no table has had: the collection's for people to see, the time, and chance."""
    return f"c_{collection}-{int(time.time()):x}-{secrets.token_hex(4)}"


def born(table: str) -> float:
    """When a collection's table was named, in seconds since 1970; infinity for other tables."""
    found = TABLE_NAME.fullmatch(table)
    return int(found[1], 16) if found else math.inf


def write_spec(spec: CollectionSpec) -> str:
    """A collection's document."""
    schema = {name: kind.value for name, kind in spec.schema.items()}
    facts = dataclasses.asdict(spec) | {"schema": schema, "create_time": spec.create_time.isoformat()}
    return json.dumps(facts)


def read_spec(document: str) -> CollectionSpec:
    """The collection that a document describes."""
    facts = json.loads(document)
    facts["schema"] = {name: PayloadType(kind) for name, kind in facts["schema"].items()}
    facts["create_time"] = dt.datetime.fromisoformat(facts["create_time"])
    return CollectionSpec(**facts)
