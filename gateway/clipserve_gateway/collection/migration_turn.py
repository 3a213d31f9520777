"""Lets the other model of a collection answer, so that no read sees an older state than another one did.

New writes wait; those under way end; what differs between the tables is mended; the other table answers;
every gateway gets to know it; and writes go on. The document says how far it has come. A gateway that finds
that it stands still gives the turn up, which is safe at each point.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import secrets
from collections.abc import Callable, Sequence

from clipserve_gateway.collection.catalog import MIGRATING_BELIEF_SECONDS, Catalog
from clipserve_gateway.collection.migration_compare import Drawn
from clipserve_gateway.collection.migration_fill import Failures, Filler
from clipserve_gateway.collection.spec import CollectionSpec, Migration, MigrationState, Phase, Turn
from clipserve_gateway.errors import Conflict, MigrationConflict
from clipserve_gateway.index.base import Engine

TURN_SECONDS = 3 * MIGRATING_BELIEF_SECONDS
"""Until then every gateway knows of a change, and work that relied on what was before has ended."""
MOST_FAILURES = 16
DROPPED = "migrations/dropped/"

Check = Callable[[Failures, int], None]
"""Raises where these points of so many must not be dropped."""


@dataclasses.dataclass(frozen=True)
class Turning:
    """A switch or a roll-back: the state it needs, the state after it, and what it may drop."""

    before: MigrationState
    after: MigrationState
    when: str
    check: Check


class Turns:
    """Of the collections of one engine."""

    def __init__(self, engine: Engine, catalog: Catalog, filler: Filler) -> None:
        self._engine = engine
        self._catalog = catalog
        self._filler = filler
        self._tasks: set[asyncio.Task[CollectionSpec]] = set()

    async def turn(self, name: str, turning: Turning) -> CollectionSpec:
        """Does it, to its end though the caller may leave; MigrationConflict."""
        task = asyncio.create_task(self._turn(name, turning), name=f"switch of {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Retrieve the exception so that asyncio does not warn when the caller has left.
        task.add_done_callback(lambda it: it.cancelled() or it.exception())
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Gives up those that are under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _turn(self, name: str, turning: Turning) -> CollectionSpec:
        spec = (await self._catalog.lease(name, fresh=True)).spec
        name, token = spec.name, secrets.token_hex(8)
        expect(spec, turning.before, turning.when)
        # Most of the work is done before writes have to wait.
        failures, drawn = await self._reconcile(spec, token="")
        turning.check(failures, drawn.seen)
        spec = await self._catalog.update(name, lambda it: begun(it, token, turning))
        try:
            await asyncio.sleep(TURN_SECONDS)
            spec = await self._catalog.update(name, lambda it: moved(it, token, Phase.COPY))
            failures, drawn = await self._reconcile(spec, token=token)
            turning.check(failures, drawn.seen)
            await self._note_dropped(spec, turning, [id for id, _ in failures])
        except BaseException:
            await asyncio.shield(self._catalog.update(name, lambda it: ended(it, token)))
            raise

        def swap(spec: CollectionSpec) -> CollectionSpec:
            return swapped(moved(spec, token, Phase.SETTLE), turning.after, failures)

        await self._catalog.update(name, swap)
        # A gateway that dies here leaves the turn to be given up: by then all know which table answers.
        await asyncio.sleep(TURN_SECONDS)
        return await self._catalog.update(name, lambda it: ended(it, token))

    async def _reconcile(self, spec: CollectionSpec, token: str) -> tuple[Failures, Drawn]:
        async def beat() -> None:
            if token:
                await self._catalog.update(spec.name, lambda it: moved(it, token, Phase.COPY))

        kept = await self._dropped(spec)
        return await self._filler.reconcile(spec, beat, fenced=bool(token), kept=kept)

    async def _note_dropped(self, spec: CollectionSpec, turning: Turning, ids: Sequence[str]) -> None:
        """Keeps the ids that the table that answers no more has alone; a roll-back brings them back."""
        key = DROPPED + spec.serving.table
        found = await self._engine.get_document(key)
        if turning.after is MigrationState.SWITCHED and (ids or found):
            version = 0 if found is None else found.version
            await self._engine.put_document(key, json.dumps(list(ids)).encode(), version=version)

    async def _dropped(self, spec: CollectionSpec) -> frozenset[str]:
        """Ids that were dropped when the collection was switched away from the table that does not answer."""
        migration = spec.migration
        if migration is None or migration.state is not MigrationState.SWITCHED:
            return frozenset()
        found = await self._engine.get_document(DROPPED + migration.other.table)
        return frozenset() if found is None else frozenset(json.loads(found.value))

    async def forget(self, table: str) -> None:
        """Removes what was noted of a table that is dropped."""
        found = await self._engine.get_document(DROPPED + table)
        if found is not None:
            await self._engine.delete_document(found.key, version=found.version)

    async def give_up(self, name: str, turn: Turn) -> None:
        """Ends the turn of a gateway that has died."""
        await self._catalog.update(name, lambda it: ended(it, turn.token))


def expect(spec: CollectionSpec, state: MigrationState, when: str) -> Migration:
    """The migration, in that state and with no turn under way; else MigrationConflict."""
    if spec.migration is None:
        raise MigrationConflict(f"collection {spec.name!r} has no migration", field="collection")
    if spec.migration.state is not state:
        raise MigrationConflict(
            f"the migration of {spec.name!r} is {spec.migration.state.value}; it can be {when}",
            field="collection",
        )
    check_no_turn(spec)
    return spec.migration


def check_no_turn(spec: CollectionSpec) -> None:
    """MigrationConflict while a switch or a roll-back is under way."""
    if spec.turn is not None:
        raise MigrationConflict(f"collection {spec.name!r} is being switched already", field="collection")


def begun(spec: CollectionSpec, token: str, turning: Turning) -> CollectionSpec:
    """The collection with a turn that has begun."""
    migration = expect(spec, turning.before, turning.when)
    return dataclasses.replace(spec, migration=dataclasses.replace(migration, turn=Turn(token, Phase.DRAIN)))


def moved(spec: CollectionSpec, token: str, phase: Phase) -> CollectionSpec:
    """The collection with its turn in another phase; Conflict if the turn was given up."""
    if spec.migration is None or spec.turn is None or spec.turn.token != token:
        raise Conflict(f"the switch of {spec.name!r} took too long and was given up; try again")
    migration = dataclasses.replace(spec.migration, turn=Turn(token, phase), beat=spec.migration.beat + 1)
    return dataclasses.replace(spec, migration=migration)


def swapped(spec: CollectionSpec, state: MigrationState, failures: Failures) -> CollectionSpec:
    """The collection with the other generation answering."""
    migration = spec.migration
    assert migration is not None
    changed = dataclasses.replace(migration, other=spec.serving, state=state)
    if state is MigrationState.SWITCHED:
        changed = dataclasses.replace(changed, failed=len(failures), failures=tuple(failures[:MOST_FAILURES]))
    return dataclasses.replace(spec, serving=migration.other, migration=changed)


def ended(spec: CollectionSpec, token: str) -> CollectionSpec:
    """The collection without that turn."""
    if spec.migration is None or spec.turn is None or spec.turn.token != token:
        return spec
    return dataclasses.replace(spec, migration=dataclasses.replace(spec.migration, turn=None))


def check_dropped(failures: Failures, total: int, *, without_failed: bool, accepted: int) -> None:
    """MigrationConflict unless the caller knows how many points go missing.

    `accepted` must be their number. `without_failed` alone, which is all that older clients have, is enough
    where the status has named each of them and others stay.
    """
    dropped = len(failures)
    if accepted == dropped or (
        not accepted and without_failed and dropped <= MOST_FAILURES and dropped < total
    ):
        return
    raise MigrationConflict(
        f"{dropped:,} of {total:,} points could not be embedded anew and would be dropped; to switch "
        f"without them, set accept_dropped to {dropped}" + (f", not {accepted}" if accepted else ""),
        field="accept_dropped",
        metadata={"dropped": str(dropped), "total": str(total)},
    )
