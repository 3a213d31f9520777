"""Migrates collections to other models, or rules for images, in the background, while they serve.

A migrating collection has a second table, for the new model. Every write goes to both tables. Existing points
are read in the order of ids, embedded again from their sources, and added unless the new table already has a
newer version. A second pass compares both tables and repairs differences. The collection's document has the
progress, so that any gateway can continue when one dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import functools
import logging
from typing import Any

from clipserve_gateway.collection.background import BackgroundTasks
from clipserve_gateway.collection.catalog import CACHE_SECONDS, Catalog
from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.management import new_generation
from clipserve_gateway.collection.migration_fill import Failures, Filler
from clipserve_gateway.collection.migration_switchover import (
    MAX_FAILURES,
    Direction,
    Switchovers,
    check_dropped,
    check_no_switchover,
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
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules

log = logging.getLogger(__name__)

SETTLE_SECONDS = 3 * CACHE_SECONDS
"""After this time all gateways know of the migration and write to both tables."""
POLL_SECONDS = 2.0
STALE_POLLS = 5
"""Polls of a migration's document without a change after which its gateway is considered dead."""
RETRY_SECONDS = 5.0
"""Between two attempts of work that failed: the model is not served, the engine does not answer."""
LONG_WAITS = 12


class MigrationEnded(Exception):
    """The migration ended, or another one began, while this one was being worked on."""


class NothingEmbedded(MigrationConflict):
    """No point of a collection could be embedded again."""

    def __init__(self, failures: Failures) -> None:
        id, message = failures[0]
        super().__init__(
            f"none of the {len(failures):,} points could be embedded again; the first is {id!r}: {message}"
        )
        self.points = len(failures)


class Migrator:
    """Migrations of the collections of one engine."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        models: Models,
        embedder: CollectionEmbedder,
        sources: SourceReader,
        rules: ImageRules = AS_OPEN_CLIP,
    ) -> None:
        """`rules` for the images of collections that are migrated from now on."""
        self._rules = rules
        self._engine = engine
        self._catalog = catalog
        self._models = models
        self._sources = sources
        self._filler = Filler(engine, embedder, sources)
        self._switchovers = Switchovers(engine, catalog, self._filler)
        self._tasks = BackgroundTasks()
        """By the names of the tables that they fill."""

    async def start(self, name: str, to_model: str) -> CollectionSpec:
        """Begins to migrate a collection to another model, or to other rules for images.

        Raises MigrationConflict if a migration is running or the collection already has both,
        SourcesNotKept if no source is readable, ModelNotFound or ModelUnavailable.
        """
        spec = await self._catalog.get(name, fresh=True)
        model = self._models.get(to_model, field="to_model")
        if (model.fingerprint, self._rules) == (spec.fingerprint, spec.serving.rules):
            same = "" if model.name == spec.model else f", and model {model.name!r} has the same weights"
            raise MigrationConflict(
                f"collection {spec.name!r} is already embedded with model {spec.model!r}{same} (fingerprint "
                f"{model.fingerprint[:12]}), so its embeddings would not change. The collection refers to "
                f"its model by the name {spec.model!r}: keep that model served",
                field="to_model",
            )
        await self._filler.check_sources(spec)
        generation = new_generation(spec.name, model, self._rules)
        total = await self._engine.count(spec.table)
        await create_table(self._engine, spec, generation)
        now = dt.datetime.now(dt.timezone.utc)

        def begin(spec: CollectionSpec) -> CollectionSpec:
            if spec.migration is not None:
                raise MigrationConflict(
                    f"collection {spec.name!r} already has a migration; end it first", field="collection"
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
        """Switches to the new model.

        Raises MigrationConflict unless the migration is ready, and if the caller did not accept that points
        are dropped; see `check_dropped`.
        """
        check = functools.partial(check_dropped, without_failed=without_failed, accepted=accept_dropped)
        when = "switched once it is ready"
        direction = Direction(MigrationState.READY, MigrationState.SWITCHED, when, check)
        return await self._switchovers.run(name, direction)

    async def roll_back(self, name: str, *, accept_dropped: int = 0) -> CollectionSpec:
        """Switches back to the old model. Raises MigrationConflict unless it was switched. See `switch`."""
        check = functools.partial(check_dropped, without_failed=False, accepted=accept_dropped)
        when = "rolled back after a switch"
        direction = Direction(MigrationState.SWITCHED, MigrationState.READY, when, check)
        return await self._switchovers.run(name, direction)

    async def end(self, name: str) -> CollectionSpec:
        """Ends a migration and keeps the serving model. Raises MigrationConflict if there is none."""
        dropped: list[Generation] = []

        def change(spec: CollectionSpec) -> CollectionSpec:
            if spec.migration is None:
                raise MigrationConflict(f"collection {spec.name!r} has no migration", field="collection")
            check_no_switchover(spec)
            dropped[:] = [spec.migration.other]
            return dataclasses.replace(spec, migration=None)

        spec = await self._catalog.update((await self._catalog.get(name)).name, change)
        # Until then other gateways may still write to the table.
        await asyncio.sleep(CACHE_SECONDS)
        await drop_table(self._engine, dropped[0].table)
        for generation in (*dropped, spec.serving):
            await self._switchovers.forget(generation.table)
        return spec

    async def watch(self) -> None:
        """Takes over migrations of gateways that died. Runs until it is cancelled."""
        seen: dict[str, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                versions = await self._catalog.versions()
            except ClipserveError as error:
                log.warning("cannot look for migrations: %s", error.logged)
                continue
            for spec, version in versions:
                migration = spec.migration
                running = migration is not None and migration.state is MigrationState.RUNNING
                if migration is None or not (migration.switchover or running):
                    seen.pop(spec.name, None)
                    continue
                last_version, polls = seen.get(spec.name, (version, 0))
                seen[spec.name] = (version, polls + 1 if last_version == version else 0)
                if polls >= STALE_POLLS and migration.switchover is not None:
                    log.warning("aborting the switch of %s: no gateway continues it", spec.name)
                    seen.pop(spec.name)
                    with contextlib.suppress(ClipserveError):
                        await self._switchovers.abandon(spec.name, migration.switchover)
                elif polls >= STALE_POLLS and migration.other.table not in self._tasks.running:
                    log.info("continuing the migration of %s", spec.name)
                    seen.pop(spec.name)
                    self._work_on(spec)

    def _work_on(self, spec: CollectionSpec) -> None:
        table = migration_of(spec).other.table
        self._tasks.start(table, f"migration of {spec.name}", lambda: self._run(spec, table))

    async def _run(self, spec: CollectionSpec, table: str) -> None:
        """Fills the table; writes errors into the document and tries again."""
        while True:
            try:
                await self._fill(spec, table)
                return
            except MigrationEnded:
                log.info("the migration of %s was ended", spec.name)
                return
            except ClipserveError as error:
                log.warning("the migration of %s waits: %s", spec.name, error.logged)
                facts: dict[str, Any] = {"error": error.message[:500]}
                if isinstance(error, NothingEmbedded):
                    facts |= dict.fromkeys(("total", "done", "failed"), error.points)
                with contextlib.suppress(MigrationEnded, ClipserveError):
                    await self._note(spec.name, table, **facts)
                    if isinstance(error, NothingEmbedded):
                        await self._wait_for_sources(spec.name, table)
            except Exception:
                log.exception("the migration of %s failed", spec.name)
                with contextlib.suppress(MigrationEnded, ClipserveError):
                    await self._note(spec.name, table, error="internal error; see the server's log")
            await asyncio.sleep(RETRY_SECONDS)

    async def _wait_for_sources(self, name: str, table: str) -> None:
        """Waits a minute before the next attempt, and shows that this gateway is alive."""
        for _ in range(LONG_WAITS):
            await asyncio.sleep(RETRY_SECONDS)
            await self._note(name, table)

    async def _note(self, name: str, table: str, **changes: Any) -> CollectionSpec:
        """Writes changed fields of the migration. Raises MigrationEnded if another migration replaced it."""

        def update(spec: CollectionSpec) -> CollectionSpec:
            migration = spec.migration
            running = migration is not None and migration.state is MigrationState.RUNNING
            if migration is None or not running or migration.other.table != table:
                raise MigrationEnded
            return dataclasses.replace(
                spec, migration=dataclasses.replace(migration, beat=migration.beat + 1, **changes)
            )

        try:
            return await self._catalog.update(name, update)
        except CollectionNotFound:
            raise MigrationEnded from None

    async def _fill(self, spec: CollectionSpec, table: str) -> None:
        """Fills the new table and marks the migration as ready."""
        spec = await self._note(spec.name, table, error="")
        await asyncio.sleep(SETTLE_SECONDS)
        while ids := await self._filler.page(spec, migration_of(spec).cursor):
            failures = await self._filler.add(spec, ids)
            migration = migration_of(spec)
            spec = await self._note(
                spec.name,
                table,
                cursor=ids[-1],
                done=migration.done + len(ids),
                failed=migration.failed + len(failures),
                failures=(*migration.failures, *failures)[:MAX_FAILURES],
                error="",
            )
        missing, sample = await self._filler.reconcile(spec, lambda: self._note(spec.name, table))
        if missing and len(missing) == sample.seen:
            raise NothingEmbedded(missing)
        overlap = await self._filler.overlap(spec, sample.ids)
        await self._note(
            spec.name,
            table,
            state=MigrationState.READY,
            failed=len(missing),
            failures=tuple(missing[:MAX_FAILURES]),
            overlap=overlap,
        )
        log.info("the migration of %s to %s is ready", spec.name, spec.generations[1].model)

    async def close(self) -> None:
        """Stops; another gateway, or this one after its next start, continues."""
        await self._switchovers.close()
        await self._tasks.close()


def migration_of(spec: CollectionSpec) -> Migration:
    """The collection's migration. Raises MigrationEnded if there is none."""
    if spec.migration is None:
        raise MigrationEnded
    return spec.migration
