"""Repairs for tables that do not belong to a collection. The operator requests each step by name."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from clipserve_gateway.collection.alias_documents import ALIASES
from clipserve_gateway.collection.spec import COLLECTIONS, CollectionSpec, read_spec, write_spec
from clipserve_gateway.collection.tables import drop_table, is_collection_table, write_record
from clipserve_gateway.errors import ClipserveError, Conflict, TableNotFound, concurrent_change
from clipserve_gateway.index.base import Engine
from clipserve_gateway.store.check import inspect_store, listed


@dataclass(frozen=True)
class Orphan:
    """A table that does not belong to a collection.

    Attributes:
        known: whether the catalog has a record of it; if not, the catalog was lost or is older.
        spec: the collection that it was created for; None for tables of releases that did not store it.
        points: number of points; None if they cannot be counted.
    """

    table: str
    known: bool
    spec: CollectionSpec | None
    points: int | None


@dataclass(frozen=True)
class Rebuilt:
    """Result of a rebuild: names of collections, and the remaining tables with the reasons."""

    collections: tuple[str, ...]
    remaining: dict[str, str]


async def orphans(engine: Engine) -> list[Orphan]:
    """All tables that do not belong to a collection, by name."""
    state = await inspect_store(engine)
    return [
        await describe(engine, name, known=name in state.orphans)
        for name in sorted((*state.orphans, *state.unlisted))
    ]


async def describe(engine: Engine, table: str, *, known: bool) -> Orphan:
    """The facts of a table."""
    spec: CollectionSpec | None = None
    points: int | None = None
    # The table of an interrupted step may be incomplete.
    with contextlib.suppress(ClipserveError):
        facts = await engine.table_facts(table)
        spec = read_spec(facts) if facts else None
        points = await engine.count(spec.table) if spec else None
    return Orphan(table, known, spec, points)


async def check_is_orphan(engine: Engine, table: str) -> None:
    """Raises TableNotFound if the table does not exist, Conflict if it belongs to a collection."""
    if not is_collection_table(table) or table not in await engine.tables():
        raise TableNotFound(
            f"there is no table {table!r}; `clipserve-gateway store orphans` lists the tables"
        )
    tables = await listed(engine)
    if table in tables:
        raise Conflict(f"table {table!r} belongs to collection {tables[table][0].name!r}")


async def delete(engine: Engine, table: str) -> None:
    """Deletes an orphaned table with all its points."""
    await check_is_orphan(engine, table)
    await drop_table(engine, table)


async def accept(engine: Engine, table: str) -> None:
    """Records an orphaned table, so that it stays unused and the gateway allows writes again."""
    await check_is_orphan(engine, table)
    await write_record(engine, table)


async def forget(engine: Engine, collection: str) -> str:
    """Removes a collection from the catalog if its table is missing, or its migration if that table is.

    Returns a sentence that says which. Raises Conflict if no table is missing.
    """
    document = await engine.get_document(COLLECTIONS + collection)
    if document is None:
        raise Conflict(f"there is no collection {collection!r}")
    tables = await engine.tables()
    spec = read_spec(document.value)
    other = None if spec.migration is None else spec.migration.other.table
    if spec.serving.table in tables and other is not None and other not in tables:
        value = write_spec(dataclasses.replace(spec, migration=None))
        if not await engine.put_document(document.key, value, version=document.version):
            raise concurrent_change("collection", collection)
        return f"the migration of collection {collection} has ended; the collection serves as before"
    if spec.serving.table in tables:
        raise Conflict(f"the table of collection {collection!r} exists; delete the collection as usual")
    await engine.delete_document(document.key, version=document.version)
    return f"collection {collection} is not in the catalog any more"


async def rebuild(engine: Engine, chosen: Collection[str] = ()) -> Rebuilt:
    """Adds collections to the catalog from the facts in their tables, which lack aliases and label sets.

    If several tables belong to one collection, only the `chosen` one is used.
    """
    by_name: dict[str, list[Orphan]] = defaultdict(list)
    remaining: dict[str, str] = {}
    for orphan in await orphans(engine):
        if orphan.spec is None:
            remaining[orphan.table] = "it has no facts of its collection; restore a copy of the catalog"
        elif orphan.known and orphan.table not in chosen:
            remaining[orphan.table] = "an interrupted step left it; to use it, name it with --table"
        else:
            by_name[orphan.spec.name].append(orphan)
    done: list[str] = []
    for name, candidates in by_name.items():
        selected = [orphan for orphan in candidates if orphan.table in chosen] or candidates
        if len(selected) > 1:
            why = f"several tables belong to {name!r}; choose one with --table"
            remaining |= {orphan.table: why for orphan in selected}
            continue
        [orphan] = selected
        if await engine.get_document(ALIASES + name) is not None:
            remaining[orphan.table] = f"there is an alias {name!r}; delete it first"
            continue
        await write_record(engine, orphan.table)
        value = await engine.table_facts(orphan.table)
        if await engine.put_document(COLLECTIONS + name, value, version=0):
            done.append(name)
        else:
            remaining[orphan.table] = f"there is another collection {name!r}"
    return Rebuilt(tuple(sorted(done)), remaining)
