"""Makes writes safe while a migration switches the collection to another table.

The serving table is authoritative. Writes go to both tables, but differences are repaired before the other
table starts to serve. So a write must only make sure that the table it took for the serving one served until
the write ended. Therefore a switch blocks new writes, waits until no gateway's cache has the old state, and
only then compares the tables.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from clipserve_gateway.collection.catalog import Catalog, Lease
from clipserve_gateway.collection.embedding import before_deadline
from clipserve_gateway.collection.spec import CollectionSpec, Phase
from clipserve_gateway.errors import Conflict, TableNotFound, concurrent_change
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point, TableSpec

ATTEMPTS = 4
"""Attempts of a write whose collection's generations change in the meantime."""
POLL_SECONDS = 0.05
"""Between two reads of a collection that is being switched."""


async def writable(catalog: Catalog, name: str, deadline: Deadline) -> Lease:
    """The collection, once no switch is running. Raises DeadlineExceeded."""
    lease = await catalog.lease(name)
    while lease.spec.switchover is not None:
        deadline.check("index")
        await asyncio.sleep(POLL_SECONDS)
        lease = await catalog.lease(name, fresh=True)
    return lease


async def confirm(
    catalog: Catalog,
    lease: Lease,
    deadline: Deadline,
    landed: Callable[[CollectionSpec], Awaitable[bool]],
) -> None:
    """Returns if a write that has just ended is in the serving table.

    Args:
        lease: the collection as it was known when the write began.
        landed: whether the write is in the serving table of another spec.

    Raises:
        Conflict: another table serves now and does not have the write.
    """
    if lease.valid:
        return
    name, serving = lease.spec.name, lease.spec.serving
    spec = (await catalog.lease(name, fresh=True)).spec
    while (
        spec.serving == serving and spec.switchover is not None and spec.switchover.phase is not Phase.DRAIN
    ):
        # The tables may be compared now: whether this write was in time is known after that.
        deadline.check("index")
        await asyncio.sleep(POLL_SECONDS)
        spec = (await catalog.lease(name, fresh=True)).spec
    if spec.serving != serving and not await landed(spec):
        raise Conflict(f"collection {name!r} was switched to another model during this write; try again")


async def have_landed(engine: Engine, rows: Sequence[Point], spec: CollectionSpec) -> bool:
    """Whether the serving table has exactly these rows, all from the same write."""
    stamps = {row.id: row.stamp for row in rows}
    points = await engine.fetch(spec.table, list(stamps))
    return {point.id: point.stamp for point in points} == stamps


async def delete_everywhere(
    catalog: Catalog,
    name: str,
    delete: Callable[[TableSpec], Awaitable[int]],
    gone: Callable[[CollectionSpec], Awaitable[bool]],
    deadline: Deadline,
) -> int:
    """Deletes from all generations, serving generation first, so that a migration does not restore points.

    Returns how many points the serving generation had. `gone` tells whether another serving generation has
    none of the points.
    """
    for _ in range(ATTEMPTS):
        lease = await writable(catalog, name, deadline)
        try:
            deleted = [
                await before_deadline(delete(lease.spec.table_of(generation)), deadline, "index")
                for generation in lease.spec.generations
            ]
            await confirm(catalog, lease, deadline, gone)
            return deleted[0]
        except TableNotFound:
            current = (await catalog.lease(name, fresh=True)).spec
            if current.generations == lease.spec.generations:
                raise
    raise concurrent_change("collection", name)
