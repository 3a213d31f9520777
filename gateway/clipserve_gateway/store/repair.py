"""What an operator may do about tables that belong to no collection. Each step is asked for by name."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from clipserve_gateway.collection.alias_documents import ALIASES
from clipserve_gateway.collection.spec import COLLECTIONS, CollectionSpec, read_spec, write_spec
from clipserve_gateway.collection.tables import drop_table, is_collection_table, write_record
from clipserve_gateway.errors import ClipserveError, Conflict, TableNotFound
from clipserve_gateway.index.base import Engine
from clipserve_gateway.store.check import listed, look


@dataclass(frozen=True)
class Orphan:
    """A table that belongs to no collection.

    Attributes:
        known: whether the catalog has a record of it: if not, the catalog was lost or is older.
        spec: the collection that it was made for; None for tables of releases that did not keep that.
        points: how many it holds; None where they cannot be counted.
    """

    table: str
    known: bool
    spec: CollectionSpec | None
    points: int | None


@dataclass(frozen=True)
class Rebuilt:
    """What became of a rebuild: names of collections, and tables that it could not list again and why."""

    collections: tuple[str, ...]
    left: dict[str, str]


async def orphans(engine: Engine) -> list[Orphan]:
    """All tables that belong to no collection, by name."""
    state = await look(engine)
    return [
        await describe(engine, name, known=name in state.orphans)
        for name in sorted((*state.orphans, *state.unlisted))
    ]


async def describe(engine: Engine, table: str, *, known: bool) -> Orphan:
    """What is known of a table."""
    spec: CollectionSpec | None = None
    points: int | None = None
    # What an interrupted step left may not be a whole table.
    with contextlib.suppress(ClipserveError):
        facts = await engine.table_facts(table)
        spec = read_spec(facts) if facts else None
        points = await engine.count(spec.table) if spec else None
    return Orphan(table, known, spec, points)


async def check_is_orphan(engine: Engine, table: str) -> None:
    """Raises TableNotFound where there is no such table, Conflict where a collection has it."""
    if not is_collection_table(table) or table not in await engine.tables():
        raise TableNotFound(
            f"there is no table {table!r}; `clipserve-gateway store orphans` lists those to name"
        )
    if table in (found := await listed(engine)):
        raise Conflict(f"table {table!r} belongs to collection {found[table][0].name!r}")


async def delete(engine: Engine, table: str) -> None:
    """Deletes an orphan with all its points."""
    await check_is_orphan(engine, table)
    await drop_table(engine, table)


async def accept(engine: Engine, table: str) -> None:
    """Keeps an orphan out of use, so that the gateway writes again."""
    await check_is_orphan(engine, table)
    await write_record(engine, table)


async def forget(engine: Engine, collection: str) -> str:
    """Takes a collection whose table is missing off the catalog, or a migration whose other table is.

    Returns a sentence that says which.

    Raises Conflict where no table is missing.
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
            raise Conflict(f"collection {collection!r} is being changed by others; try again")
        return f"the migration of collection {collection} is over; it answers as before"
    if spec.serving.table in tables:
        raise Conflict(f"collection {collection!r} has its table; delete it as usual")
    await engine.delete_document(document.key, version=document.version)
    return f"collection {collection} is not listed any more"


async def rebuild(engine: Engine, chosen: Collection[str] = ()) -> Rebuilt:
    """Lists collections again from what their tables keep. Aliases and label sets are not in the tables.

    Of several tables of one collection, the `chosen` one is taken; without a choice none is.
    """
    by_name: dict[str, list[Orphan]] = defaultdict(list)
    left: dict[str, str] = {}
    for orphan in await orphans(engine):
        if orphan.spec is None:
            left[orphan.table] = "it does not say what it holds; only a copy of the catalog can tell"
        elif orphan.known and orphan.table not in chosen:
            left[orphan.table] = "an interrupted step left it; name it with --table if it is wanted"
        else:
            by_name[orphan.spec.name].append(orphan)
    done: list[str] = []
    for name, candidates in by_name.items():
        wanted = [it for it in candidates if it.table in chosen] or candidates
        if len(wanted) > 1:
            left |= {it.table: f"several tables are of {name!r}; choose one with --table" for it in wanted}
            continue
        [orphan] = wanted
        if await engine.get_document(ALIASES + name) is not None:
            left[orphan.table] = f"there is an alias {name!r}; delete it first"
            continue
        await write_record(engine, orphan.table)
        value = await engine.table_facts(orphan.table)
        if await engine.put_document(COLLECTIONS + name, value, version=0):
            done.append(name)
        else:
            left[orphan.table] = f"there is another collection {name!r}"
    return Rebuilt(tuple(sorted(done)), left)
