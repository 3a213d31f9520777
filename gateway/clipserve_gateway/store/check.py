"""Compares the tables with the catalog. No table is deleted but those whose drop was asked for and begun."""

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

SHOWN = 3
"""Tables that a sentence names."""


@dataclass(frozen=True)
class StoreState:
    """What a look at the store found.

    Attributes:
        orphans: tables that an interrupted step left behind: recorded, but of no collection. They stay.
        unlisted: tables that the catalog knows nothing of, as if it were lost or an older copy.
        missing: tables that the catalog lists and that are not there.
    """

    orphans: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """Why nothing may be written, and what to do; empty where all is well."""
        if self.unlisted:
            return (
                f"the catalog does not know {named(self.unlisted)}: it was lost, or is older than the "
                "tables. Nothing is written until this is settled; reads go on. Restore the newest copy of "
                "the catalog, or rebuild it: `clipserve-gateway store rebuild`. To leave these tables "
                "unused instead: `clipserve-gateway store orphans --accept NAME`"
            )
        if self.missing:
            return (
                f"the catalog lists {named(self.missing)}, not there any more: the catalog is older than "
                "the tables, or they were removed. Nothing is written until this is settled; reads go on. "
                "Restore catalog and tables from one copy, or take the collections off the catalog: "
                "`clipserve-gateway store forget COLLECTION`"
            )
        return ""


def named(tables: tuple[str, ...]) -> str:
    """The first few tables, for a sentence."""
    more = len(tables) - SHOWN
    count = "1 table" if len(tables) == 1 else f"{len(tables)} tables"
    return f"{count} ({', '.join(tables[:SHOWN])}{f' and {more} more' if more > 0 else ''})"


async def listed(engine: Engine) -> dict[str, tuple[CollectionSpec, Generation]]:
    """The tables that the catalog lists, with what they are of."""
    specs = [read_spec(document.value) for document in await engine.documents(COLLECTIONS)]
    return {generation.table: (spec, generation) for spec in specs for generation in spec.generations}


async def look(engine: Engine) -> StoreState:
    """The state of the store; finishes drops that were interrupted.

    Tables that have no record yet, of an earlier release, get one.

    The catalog is read before and after the tables, because other gateways may change both meanwhile: a
    table is made before it is listed, and dropped after.
    """
    before = await listed(engine)
    tables = [name for name in await engine.tables() if is_collection_table(name)]
    after = await listed(engine)
    records = {it.key.removeprefix(RECORDS): it for it in await engine.documents(RECORDS)}
    # A drop by another gateway may have ended between the tables and the records.
    still = set(await engine.tables())
    alone = sorted((set(tables) & still) - set(before) - set(after))
    dropping = [name for name in alone if name in records and is_being_dropped(records[name])]
    state = StoreState(
        orphans=tuple(name for name in alone if name in records and name not in dropping),
        unlisted=tuple(name for name in alone if name not in records),
        missing=tuple(sorted((set(before) & set(after)) - set(tables) - still)),
    )
    if not state.problem:
        for name in dropping:
            await drop_table(engine, name)
        for name in sorted((set(after) & still) - set(records)):
            await engine.put_table_facts(name, facts_of(*after[name]))
            await write_record(engine, name)
    return state
