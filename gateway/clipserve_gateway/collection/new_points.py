"""Writes of points some of which must be new: the first of several writers keeps the id."""

from __future__ import annotations

from collections.abc import Set

from clipserve_gateway.collection.embedding import before_deadline
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point

Rows = list[tuple[Generation, list[Point]]]
"""The rows for each generation, serving generation first; the same ids in all generations."""


async def write_rows(
    engine: Engine, collection: CollectionSpec, rows: Rows, new: Set[str], deadline: Deadline
) -> tuple[Rows, set[str]]:
    """Writes rows; rows with an id in `new` only if the serving table does not have the id.

    Returns the written rows, and the ids that already existed.
    """
    taken = await insert(engine, collection, rows[0], new, deadline) if new else set()
    written = [(generation, [row for row in some if row.id not in taken]) for generation, some in rows]
    for generation, some in reversed(written):
        if generation == collection.serving:
            # Inserted rows may have been replaced by other writers since.
            some = [row for row in some if row.id not in new]
        if some:
            await before_deadline(engine.upsert(collection.table_of(generation), some), deadline, "index")
    return written, taken


async def insert(
    engine: Engine,
    collection: CollectionSpec,
    rows: tuple[Generation, list[Point]],
    new: Set[str],
    deadline: Deadline,
) -> set[str]:
    """Inserts the rows with an id in `new`. Returns the ids that already existed."""
    generation, some = rows
    to_insert = {row.id: row for row in some if row.id in new}
    if not to_insert:
        return set()
    table = collection.table_of(generation)
    await before_deadline(engine.upsert(table, list(to_insert.values()), replace=False), deadline, "index")
    stored = await before_deadline(engine.fetch(table, list(to_insert)), deadline, "index")
    return {row.id for row in stored if not same_write(row, to_insert[row.id], generation.stamped)}


def same_write(stored: Point, row: Point, stamped: bool) -> bool:
    """Whether a stored point comes from this write. Without stamps, the content is compared."""
    if stamped:
        return stored.stamp == row.stamp
    return (stored.payload, stored.source_uri) == (row.payload, row.source_uri)
