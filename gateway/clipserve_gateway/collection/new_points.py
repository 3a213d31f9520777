"""Writes of points some of which must be new: whichever of several writers is first keeps the id."""

from __future__ import annotations

from collections.abc import Set

from clipserve_gateway.collection.embedding import in_time
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point

Rows = list[tuple[Generation, list[Point]]]
"""The rows for each generation, the one that answers first; the same ids in all of them."""


async def write_rows(
    engine: Engine, collection: CollectionSpec, written: Rows, new: Set[str], deadline: Deadline
) -> tuple[Rows, set[str]]:
    """Writes rows, those whose ids are `new` only where the table that answers has no such id.

    Returns the rows that are there now, and the ids that were taken.
    """
    taken = await insert(engine, collection, written[0], new, deadline) if new else set()
    kept = [(generation, [it for it in rows if it.id not in taken]) for generation, rows in written]
    for generation, rows in reversed(kept):
        if generation == collection.serving:
            # What was inserted may have been replaced by others since.
            rows = [it for it in rows if it.id not in new]
        if rows:
            await in_time(engine.upsert(collection.table_of(generation), rows), deadline, "index")
    return kept, taken


async def insert(
    engine: Engine,
    collection: CollectionSpec,
    written: tuple[Generation, list[Point]],
    new: Set[str],
    deadline: Deadline,
) -> set[str]:
    """Inserts the rows that are new; the ids whose rows were there before."""
    generation, rows = written
    wanted = {it.id: it for it in rows if it.id in new}
    if not wanted:
        return set()
    table = collection.table_of(generation)
    await in_time(engine.upsert(table, list(wanted.values()), replace=False), deadline, "index")
    stored = await in_time(engine.fetch(table, list(wanted)), deadline, "index")
    return {it.id for it in stored if not is_ours(it, wanted[it.id], generation.stamped)}


def is_ours(stored: Point, row: Point, stamped: bool) -> bool:
    """Whether a stored point is this row. Tables of earlier releases do not tell which write made it."""
    if stamped:
        return stored.stamp == row.stamp
    return (stored.payload, stored.source_uri) == (row.payload, row.source_uri)
