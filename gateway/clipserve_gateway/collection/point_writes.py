"""Writes to the tables of a collection, whatever becomes of its migration meanwhile.

The table that answers is the truth. Writes go to the other one too, but what differs there is mended before
that table answers. So a write needs to be sure of one thing: that the table it took for the one that answers
was it until the write had ended. A switch therefore holds back new writes, waits until no gateway's cache
knows the collection otherwise, and only then compares the tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from clipserve_gateway.collection.catalog import Catalog, Lease
from clipserve_gateway.collection.embedding import in_time
from clipserve_gateway.collection.spec import CollectionSpec, Phase
from clipserve_gateway.errors import Conflict, TableNotFound
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point, TableSpec

ATTEMPTS = 4
"""Times that a write is begun anew because the collection's generations changed under it."""
LOOK_SECONDS = 0.05
"""Between two looks at a collection that is being switched."""


async def writable(catalog: Catalog, name: str, deadline: Deadline) -> Lease:
    """The collection, once no switch is under way; DeadlineExceeded."""
    lease = await catalog.lease(name)
    while lease.spec.turn is not None:
        deadline.check("index")
        await asyncio.sleep(LOOK_SECONDS)
        lease = await catalog.lease(name, fresh=True)
    return lease


async def confirm(
    catalog: Catalog,
    lease: Lease,
    deadline: Deadline,
    landed: Callable[[CollectionSpec], Awaitable[bool]],
) -> None:
    """Returns if a write that has just ended is in the table that answers.

    Args:
        lease: how the collection was known when the write began.
        landed: whether the write is in the table that answers by another spec.

    Raises:
        Conflict: another table answers, and the write came too late for it.
    """
    if lease.valid:
        return
    name, serving = lease.spec.name, lease.spec.serving
    spec = (await catalog.lease(name, fresh=True)).spec
    while spec.serving == serving and spec.turn is not None and spec.turn.phase is not Phase.DRAIN:
        # It may be copied at this moment: whether this write was in time is seen when it is over.
        deadline.check("index")
        await asyncio.sleep(LOOK_SECONDS)
        spec = (await catalog.lease(name, fresh=True)).spec
    if spec.serving != serving and not await landed(spec):
        raise Conflict(f"collection {name!r} was switched to another model while this was written; try again")


async def have_landed(engine: Engine, rows: Sequence[Point], spec: CollectionSpec) -> bool:
    """Whether the points that answer are these rows, written by one and the same write."""
    stamps = {row.id: row.stamp for row in rows}
    found = await engine.fetch(spec.table, list(stamps))
    return {point.id: point.stamp for point in found} == stamps


async def delete_everywhere(
    catalog: Catalog,
    name: str,
    delete: Callable[[TableSpec], Awaitable[int]],
    gone: Callable[[CollectionSpec], Awaitable[bool]],
    deadline: Deadline,
) -> int:
    """Deletes from the generation that answers first: what is gone there, a migration brings no more.

    Returns how many points that generation had. `gone` looks whether another one has none of them.
    """
    for _ in range(ATTEMPTS):
        lease = await writable(catalog, name, deadline)
        try:
            deleted = [
                await in_time(delete(lease.spec.table_of(generation)), deadline, "index")
                for generation in lease.spec.generations
            ]
            await confirm(catalog, lease, deadline, gone)
            return deleted[0]
        except TableNotFound:
            again = (await catalog.lease(name, fresh=True)).spec
            if again.generations == lease.spec.generations:
                raise
    raise Conflict(f"collection {name!r} is being changed by others; try again")
