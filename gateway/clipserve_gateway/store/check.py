"""Compares the tables with the catalog. Deletes only tables whose drop was requested and has begun."""

from __future__ import annotations

from dataclasses import dataclass

from clipserve_gateway.collection.spec import COLLECTIONS, CollectionSpec, Generation, read_spec
from clipserve_gateway.collection.tables import (
    RECORDS,
    drop_table,
    facts_of,
    is_being_dropped,
    is_collection_table,
    write_record,
)
from clipserve_gateway.index.base import Engine

MAX_NAMED = 3
"""Tables that a message names."""


@dataclass(frozen=True)
class StoreState:
    """Differences between catalog and tables.

    Attributes:
        orphans: tables with a record but without a collection, left by an interrupted step. They are kept.
        unlisted: tables unknown to the catalog, which was lost or is an older copy.
        missing: tables that the catalog lists and that do not exist.
    """

    orphans: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """Why writes are refused, and what to do; empty if they are not."""
        if self.unlisted:
            return (
                f"the catalog does not know {named(self.unlisted)}: the catalog was lost, or is older than "
                "the tables. Writes are refused until this is repaired; reads work. Restore the newest copy "
                "of the catalog, or rebuild it: `clipserve-gateway store rebuild`. To leave these tables "
                "unused instead: `clipserve-gateway store orphans --accept NAME`"
            )
        if self.missing:
            return (
                f"the catalog lists {named(self.missing)} that do not exist: the catalog is older than the "
                "tables, or they were removed. Writes are refused until this is repaired; reads work. "
                "Restore catalog and tables from the same copy, or remove the collections from the catalog: "
                "`clipserve-gateway store forget COLLECTION`"
            )
        return ""


def named(tables: tuple[str, ...]) -> str:
    """The first few tables, for a message."""
    more = len(tables) - MAX_NAMED
    count = "1 table" if len(tables) == 1 else f"{len(tables)} tables"
    return f"{count} ({', '.join(tables[:MAX_NAMED])}{f' and {more} more' if more > 0 else ''})"


async def listed(engine: Engine) -> dict[str, tuple[CollectionSpec, Generation]]:
    """The tables in the catalog, with their collections and generations."""
    specs = [read_spec(document.value) for document in await engine.documents(COLLECTIONS)]
    return {generation.table: (spec, generation) for spec in specs for generation in spec.generations}


async def inspect_store(engine: Engine) -> StoreState:
    """The state of the store. Finishes interrupted drops, and writes records that older releases lack.

    The catalog is read before and after the tables, because other gateways may change both at the same time:
    a table is created before it is listed, and dropped after.
    """
    before = await listed(engine)
    tables = [name for name in await engine.tables() if is_collection_table(name)]
    after = await listed(engine)
    records = {record.key.removeprefix(RECORDS): record for record in await engine.documents(RECORDS)}
    # Another gateway may have dropped a table between the two reads.
    existing = set(await engine.tables())
    orphans = sorted((set(tables) & existing) - set(before) - set(after))
    dropping = [name for name in orphans if name in records and is_being_dropped(records[name])]
    state = StoreState(
        orphans=tuple(name for name in orphans if name in records and name not in dropping),
        unlisted=tuple(name for name in orphans if name not in records),
        missing=tuple(sorted((set(before) & set(after)) - set(tables) - existing)),
    )
    if not state.problem:
        for name in dropping:
            await drop_table(engine, name)
        for name in sorted((set(after) & existing) - set(records)):
            await engine.put_table_facts(name, facts_of(*after[name]))
            await write_record(engine, name)
    return state
