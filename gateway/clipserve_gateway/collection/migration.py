"""Moves collections to other models in the background, while they answer and are written to.

A collection's points get a second table, for the new model. From the start every write goes to both
tables; what was there before is read in the order of ids, embedded anew from its source, and added unless
a newer version is there already. A second pass compares both tables and mends what slipped through. All
progress is in the collection's document, so that any gateway can go on where one has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

from clipserve_gateway.collection.catalog import BELIEF_SECONDS, Catalog
from clipserve_gateway.collection.embedding import CollectionEmbedder, ModelTable
from clipserve_gateway.collection.management import new_generation
from clipserve_gateway.collection.migration_fill import Failures, Filler
from clipserve_gateway.collection.migration_turn import (
    MOST_FAILURES,
    Turning,
    Turns,
    check_dropped,
    check_no_turn,
)
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.spec import (
    CollectionSpec,
    Generation,
    Migration,
    MigrationState,
)
from clipserve_gateway.collection.tables import create_table, drop_table
from clipserve_gateway.errors import (
    ClipserveError,
    CollectionNotFound,
    MigrationConflict,
)
from clipserve_gateway.index.base import Engine

log = logging.getLogger(__name__)

SETTLE_SECONDS = 3 * BELIEF_SECONDS
"""Until then every gateway knows of the migration, and writes to both tables."""
LOOK_SECONDS = 2.0
STALE_LOOKS = 5
"""Looks at a migration's document without a change after which its gateway counts as dead."""
PATIENCE_SECONDS = 5.0
"""Between two attempts at what failed: a model that is not served, an engine that does not answer."""
LONG_WAITS = 12


class Gone(Exception):
    """The migration was ended, or begun anew, while it was worked on."""


class NothingEmbedded(MigrationConflict):
    """Not one point of a collection could be embedded anew."""

    def __init__(self, failures: Failures) -> None:
        id, message = failures[0]
        super().__init__(
            f"none of the {len(failures):,} points could be embedded anew; the first, {id!r}: {message}"
        )
        self.points = len(failures)


class Migrator:
    """Migrations of the collections of one engine."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        models: ModelTable,
        embedder: CollectionEmbedder,
        sources: SourceReader,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._models = models
        self._sources = sources
        self._filler = Filler(engine, embedder, sources)
        self._turns = Turns(engine, catalog, self._filler)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """By the names of the tables they fill."""

    async def start(self, name: str, to_model: str) -> CollectionSpec:
        """Begins to move a collection to another model.

        Raises MigrationConflict where one is under way or the model is its own already, SourcesNotKept
        where there is nothing to embed anew, ModelNotFound or ModelUnavailable.
        """
        spec = await self._catalog.get(name, fresh=True)
        model = self._models.get(to_model, field="to_model")
        if model.fingerprint == spec.fingerprint:
            same = "" if model.name == spec.model else f", and model {model.name!r} has the same weights"
            raise MigrationConflict(
                f"collection {spec.name!r} is already embedded by model {spec.model!r}{same} (fingerprint "
                f"{model.fingerprint[:12]}): its embeddings would not change. The collection finds its "
                f"model by the name {spec.model!r}: keep that model served",
                field="to_model",
            )
        await self._filler.check_sources(spec)
        generation = new_generation(spec.name, model)
        total = await self._engine.count(spec.table)
        await create_table(self._engine, spec, generation)
        now = dt.datetime.now(dt.timezone.utc)

        def begin(spec: CollectionSpec) -> CollectionSpec:
            if spec.migration is not None:
                raise MigrationConflict(
                    f"collection {spec.name!r} has a migration that has not been ended", field="collection"
                )
            migration = Migration(MigrationState.RUNNING, generation, now, total=total)
            return dataclasses.replace(spec, migration=migration)

        try:
            spec = await self._catalog.update(spec.name, begin)
        except ClipserveError:
            await drop_table(self._engine, generation.table)
            raise
        self._work_on(spec)
        return spec

    async def switch(self, name: str, *, without_failed: bool, accept_dropped: int = 0) -> CollectionSpec:
        """Lets the new model answer.

        Raises MigrationConflict unless the migration is ready, and where points would be dropped that the
        caller has not accepted; see `check_dropped`.
        """
        check = functools.partial(check_dropped, without_failed=without_failed, accepted=accept_dropped)
        when = "switched once it is ready"
        turning = Turning(MigrationState.READY, MigrationState.SWITCHED, when, check)
        return await self._turns.turn(name, turning)

    async def roll_back(self, name: str, *, accept_dropped: int = 0) -> CollectionSpec:
        """Lets the old model answer again; MigrationConflict unless it was switched. See `switch`."""
        check = functools.partial(check_dropped, without_failed=False, accepted=accept_dropped)
        when = "rolled back after a switch"
        turning = Turning(MigrationState.SWITCHED, MigrationState.READY, when, check)
        return await self._turns.turn(name, turning)

    async def end(self, name: str) -> CollectionSpec:
        """Ends a migration with the model that answers now; MigrationConflict if there is none."""
        dropped: list[Generation] = []

        def change(spec: CollectionSpec) -> CollectionSpec:
            if spec.migration is None:
                raise MigrationConflict(f"collection {spec.name!r} has no migration", field="collection")
            check_no_turn(spec)
            dropped[:] = [spec.migration.other]
            return dataclasses.replace(spec, migration=None)

        spec = await self._change(name, change)
        # Others that still believe in the migration write to the table for a moment.
        await asyncio.sleep(BELIEF_SECONDS)
        await drop_table(self._engine, dropped[0].table)
        for generation in (*dropped, spec.serving):
            await self._turns.forget(generation.table)
        return spec

    async def _change(self, name: str, change: Callable[[CollectionSpec], CollectionSpec]) -> CollectionSpec:
        return await self._catalog.update((await self._catalog.get(name)).name, change)

    async def watch(self) -> None:
        """Takes over migrations whose gateway has died. Runs until it is cancelled."""
        seen: dict[str, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                found = await self._catalog.versions()
            except ClipserveError as error:
                log.warning("migrations cannot be looked for: %s", error.logged)
                continue
            for spec, version in found:
                migration = spec.migration
                if migration is None or not (migration.turn or migration.state is MigrationState.RUNNING):
                    seen.pop(spec.name, None)
                    continue
                known, looks = seen.get(spec.name, (version, 0))
                seen[spec.name] = (version, looks + 1 if known == version else 0)
                if looks >= STALE_LOOKS and migration.turn is not None:
                    log.warning("giving up the switch of %s: nobody goes on with it", spec.name)
                    seen.pop(spec.name)
                    with contextlib.suppress(ClipserveError):
                        await self._turns.give_up(spec.name, migration.turn)
                elif looks >= STALE_LOOKS and migration.other.table not in self._tasks:
                    log.info("going on with the migration of %s", spec.name)
                    seen.pop(spec.name)
                    self._work_on(spec)

    def _work_on(self, spec: CollectionSpec) -> None:
        table = migration_of(spec).other.table
        task = asyncio.create_task(self._run(spec, table), name=f"migration of {spec.name}")
        self._tasks[table] = task
        task.add_done_callback(lambda _: self._tasks.pop(table, None))

    async def _run(self, spec: CollectionSpec, table: str) -> None:
        """Works until it is done; what fails is told in the document and tried again."""
        while True:
            try:
                await self._fill(spec, table)
                return
            except Gone:
                log.info("the migration of %s has been ended", spec.name)
                return
            except ClipserveError as error:
                log.warning("the migration of %s waits: %s", spec.name, error.logged)
                facts: dict[str, Any] = {"error": error.message[:500]}
                if isinstance(error, NothingEmbedded):
                    facts |= dict.fromkeys(("total", "done", "failed"), error.points)
                told = functools.partial(dataclasses.replace, **facts)
                with contextlib.suppress(Gone, ClipserveError):
                    await self._note(spec.name, table, told)
                    if isinstance(error, NothingEmbedded):
                        await self._wait_for_sources(spec.name, table)
            except Exception:
                log.exception("the migration of %s failed", spec.name)
                told = functools.partial(dataclasses.replace, error="internal error; see the server's log")
                with contextlib.suppress(Gone, ClipserveError):
                    await self._note(spec.name, table, told)
            await asyncio.sleep(PATIENCE_SECONDS)

    async def _wait_for_sources(self, name: str, table: str) -> None:
        """Waits for a minute before what has failed as a whole is tried again, and shows that it does."""
        for _ in range(LONG_WAITS):
            await asyncio.sleep(PATIENCE_SECONDS)
            await self._note(name, table, lambda it: it)

    async def _note(self, name: str, table: str, change: Callable[[Migration], Migration]) -> CollectionSpec:
        """Writes progress down; Gone if the migration is not the one that is worked on any more."""

        def update(spec: CollectionSpec) -> CollectionSpec:
            migration = spec.migration
            running = migration is not None and migration.state is MigrationState.RUNNING
            if migration is None or not running or migration.other.table != table:
                raise Gone
            return dataclasses.replace(
                spec, migration=dataclasses.replace(change(migration), beat=migration.beat + 1)
            )

        try:
            return await self._catalog.update(name, update)
        except CollectionNotFound:
            raise Gone from None

    async def _fill(self, spec: CollectionSpec, table: str) -> None:
        """Fills the new table, and then says that it is ready."""
        spec = await self._note(spec.name, table, lambda it: dataclasses.replace(it, error=""))
        await asyncio.sleep(SETTLE_SECONDS)
        while ids := await self._filler.page(spec, migration_of(spec).cursor):
            failures = await self._filler.add(spec, ids)
            progress = functools.partial(advanced, ids=ids, failures=failures)
            spec = await self._note(spec.name, table, progress)
        beat = functools.partial(self._note, spec.name, table, lambda it: it)
        missing, drawn = await self._filler.reconcile(spec, beat)
        if missing and len(missing) == drawn.seen:
            raise NothingEmbedded(missing)
        overlap = await self._filler.overlap(spec, drawn.ids)

        def ready(migration: Migration) -> Migration:
            return dataclasses.replace(
                migration,
                state=MigrationState.READY,
                failed=len(missing),
                failures=tuple(missing[:MOST_FAILURES]),
                overlap=overlap,
            )

        await self._note(spec.name, table, ready)
        log.info("the migration of %s to %s is ready", spec.name, spec.generations[1].model)

    async def close(self) -> None:
        """Stops; another gateway, or the next start, goes on."""
        await self._turns.close()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def migration_of(spec: CollectionSpec) -> Migration:
    """The collection's migration; Gone if there is none."""
    if spec.migration is None:
        raise Gone
    return spec.migration


def advanced(migration: Migration, ids: Sequence[str], failures: Failures) -> Migration:
    """The migration after a page of points."""
    return dataclasses.replace(
        migration,
        cursor=ids[-1],
        done=migration.done + len(ids),
        failed=migration.failed + len(failures),
        failures=(*migration.failures, *failures)[:MOST_FAILURES],
        error="",
    )
