"""Switches a collection to its other model, so that no read sees an older state than an earlier read did.

New writes wait and running writes end. Differences between the tables are repaired. The other table becomes
the serving one, all gateways learn about it, and writes continue. The collection's document has the phase. A
gateway that sees no progress ends the switchover, which is safe in every phase.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
from collections.abc import Callable, Sequence

from clipserve_gateway.collection.background import cancel
from clipserve_gateway.collection.catalog import MIGRATING_CACHE_SECONDS, Catalog
from clipserve_gateway.collection.migration_compare import Sample
from clipserve_gateway.collection.migration_fill import Failures, Filler
from clipserve_gateway.collection.spec import CollectionSpec, Migration, MigrationState, Phase, Switchover
from clipserve_gateway.errors import Conflict, MigrationConflict
from clipserve_gateway.index.base import Engine

PHASE_SECONDS = 3 * MIGRATING_CACHE_SECONDS
"""After this time all gateways know of a change, and work based on the former state has ended."""
MAX_FAILURES = 16
"""Failures that a migration's status names."""
DROPPED = "migrations/dropped/"

Check = Callable[[Failures, int], None]
"""Raises if these failures, of a total number of points, must not be dropped."""


@dataclasses.dataclass(frozen=True)
class Direction:
    """A switch or a rollback: the state it needs, the state after it, and what it may drop."""

    before: MigrationState
    after: MigrationState
    when: str
    """For errors: when the operation is possible."""
    check: Check


class Switchovers:
    """Switchovers of the collections of one engine."""

    def __init__(self, engine: Engine, catalog: Catalog, filler: Filler) -> None:
        self._engine = engine
        self._catalog = catalog
        self._filler = filler
        self._tasks: set[asyncio.Task[CollectionSpec]] = set()

    async def run(self, name: str, direction: Direction) -> CollectionSpec:
        """Switches a collection, to the end even if the caller is cancelled. Raises MigrationConflict."""
        task = asyncio.create_task(self._run(name, direction), name=f"switch of {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Retrieve the exception so that asyncio does not warn when the caller has left.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancels running switchovers."""
        await cancel(list(self._tasks))

    async def _run(self, name: str, direction: Direction) -> CollectionSpec:
        spec = (await self._catalog.lease(name, fresh=True)).spec
        name, token = spec.name, secrets.token_hex(8)
        expect(spec, direction)
        # Most of the work is done before writes must wait.
        failures, sample = await self._reconcile(spec, token="")
        direction.check(failures, sample.seen)
        spec = await self._catalog.update(name, lambda spec: begun(spec, token, direction))
        try:
            await asyncio.sleep(PHASE_SECONDS)
            spec = await self._catalog.update(name, lambda spec: moved(spec, token, Phase.COPY))
            failures, sample = await self._reconcile(spec, token=token)
            direction.check(failures, sample.seen)
            await self._note_dropped(spec, direction, [id for id, _ in failures])
        except BaseException:
            await asyncio.shield(self._catalog.update(name, lambda spec: ended(spec, token)))
            raise

        def swap(spec: CollectionSpec) -> CollectionSpec:
            return swapped(moved(spec, token, Phase.SETTLE), direction.after, failures)

        await self._catalog.update(name, swap)
        # If this gateway dies here, another one ends the switchover; all know the serving table by then.
        await asyncio.sleep(PHASE_SECONDS)
        return await self._catalog.update(name, lambda spec: ended(spec, token))

    async def _reconcile(self, spec: CollectionSpec, token: str) -> tuple[Failures, Sample]:
        async def beat() -> None:
            if token:
                await self._catalog.update(spec.name, lambda spec: moved(spec, token, Phase.COPY))

        keep = await self._dropped(spec)
        return await self._filler.reconcile(spec, beat, fenced=bool(token), keep=keep)

    async def _note_dropped(self, spec: CollectionSpec, direction: Direction, ids: Sequence[str]) -> None:
        """Stores the ids that a switch drops; a rollback restores them."""
        key = DROPPED + spec.serving.table
        document = await self._engine.get_document(key)
        if direction.after is MigrationState.SWITCHED and (ids or document):
            version = 0 if document is None else document.version
            await self._engine.put_document(key, json.dumps(list(ids)).encode(), version=version)

    async def _dropped(self, spec: CollectionSpec) -> frozenset[str]:
        """The ids that the switch away from the other table dropped."""
        migration = spec.migration
        if migration is None or migration.state is not MigrationState.SWITCHED:
            return frozenset()
        document = await self._engine.get_document(DROPPED + migration.other.table)
        return frozenset() if document is None else frozenset(json.loads(document.value))

    async def forget(self, table: str) -> None:
        """Deletes the list of ids that the switch away from a table dropped."""
        document = await self._engine.get_document(DROPPED + table)
        if document is not None:
            await self._engine.delete_document(document.key, version=document.version)

    async def abandon(self, name: str, switchover: Switchover) -> None:
        """Ends the switchover of a gateway that has died."""
        await self._catalog.update(name, lambda spec: ended(spec, switchover.token))


def expect(spec: CollectionSpec, direction: Direction) -> Migration:
    """The migration, which must be in the required state. Raises MigrationConflict."""
    if spec.migration is None:
        raise MigrationConflict(f"collection {spec.name!r} has no migration", field="collection")
    if spec.migration.state is not direction.before:
        raise MigrationConflict(
            f"the migration of {spec.name!r} is {spec.migration.state.value}; it can be {direction.when}",
            field="collection",
        )
    check_no_switchover(spec)
    return spec.migration


def check_no_switchover(spec: CollectionSpec) -> None:
    """Raises MigrationConflict while a switch or a rollback is running."""
    if spec.switchover is not None:
        raise MigrationConflict(f"collection {spec.name!r} is already being switched", field="collection")


def begun(spec: CollectionSpec, token: str, direction: Direction) -> CollectionSpec:
    """The collection with a new switchover."""
    migration = dataclasses.replace(expect(spec, direction), switchover=Switchover(token, Phase.DRAIN))
    return dataclasses.replace(spec, migration=migration)


def moved(spec: CollectionSpec, token: str, phase: Phase) -> CollectionSpec:
    """The collection with its switchover in another phase. Raises Conflict if another gateway ended it."""
    if spec.migration is None or spec.switchover is None or spec.switchover.token != token:
        raise Conflict(f"the switch of {spec.name!r} took too long and was aborted; try again")
    migration = dataclasses.replace(
        spec.migration, switchover=Switchover(token, phase), beat=spec.migration.beat + 1
    )
    return dataclasses.replace(spec, migration=migration)


def swapped(spec: CollectionSpec, state: MigrationState, failures: Failures) -> CollectionSpec:
    """The collection with the other generation serving."""
    migration = spec.migration
    assert migration is not None
    changed = dataclasses.replace(migration, other=spec.serving, state=state)
    if state is MigrationState.SWITCHED:
        changed = dataclasses.replace(changed, failed=len(failures), failures=tuple(failures[:MAX_FAILURES]))
    return dataclasses.replace(spec, serving=migration.other, migration=changed)


def ended(spec: CollectionSpec, token: str) -> CollectionSpec:
    """The collection without this switchover."""
    if spec.migration is None or spec.switchover is None or spec.switchover.token != token:
        return spec
    return dataclasses.replace(spec, migration=dataclasses.replace(spec.migration, switchover=None))


def check_dropped(failures: Failures, total: int, *, without_failed: bool, accepted: int) -> None:
    """Raises MigrationConflict unless the caller accepts the number of points that the switch drops.

    `accepted` must be that number. `without_failed` alone, which is all that older clients have, is enough if
    the status names all these points and not all points are dropped.
    """
    dropped = len(failures)
    if accepted == dropped or (
        not accepted and without_failed and dropped <= MAX_FAILURES and dropped < total
    ):
        return
    raise MigrationConflict(
        f"{dropped:,} of {total:,} points could not be embedded again and would be dropped; to switch "
        f"without them, set accept_dropped to {dropped}" + (f", not {accepted}" if accepted else ""),
        field="accept_dropped",
        metadata={"dropped": str(dropped), "total": str(total)},
    )
