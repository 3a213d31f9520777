"""The catalog: which collections and aliases there are, shared by all gateways on one engine.

Collections and aliases have one name space, and a document each. A collection exists from the moment its
document does: its table is made before, and removed after. Tables have names of their own, never used
twice, so that whoever comes too late, or still holds a collection that is gone, touches no one's points.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from clipserve_gateway.collection.alias_documents import AliasDocuments, read_alias
from clipserve_gateway.collection.name_claims import NameClaims
from clipserve_gateway.collection.spec import COLLECTIONS, NAME, CollectionSpec, read_spec, write_spec
from clipserve_gateway.collection.tables import create_table, drop_table
from clipserve_gateway.errors import (
    ClipserveError,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    Conflict,
    TableNotFound,
)
from clipserve_gateway.flow.stages import note
from clipserve_gateway.index.base import Document, Engine

T = TypeVar("T")

BELIEF_SECONDS = 1.0
"""Cache lifetime; changes by other gateways appear within it."""
MIGRATING_BELIEF_SECONDS = 0.25
"""The same for a collection with a migration: a switch waits until no cache names the old table."""
READ_ATTEMPTS = 8
RETARGET_SECONDS = BELIEF_SECONDS
UPDATE_ATTEMPTS = 16


@dataclass(frozen=True)
class _Known:
    """A collection, the version of its document, and when it was read."""

    spec: CollectionSpec
    version: int
    since: float
    """Before it was read: whatever was changed earlier is in it."""

    @property
    def belief(self) -> float:
        """Seconds for which it is believed."""
        return BELIEF_SECONDS if self.spec.migration is None else MIGRATING_BELIEF_SECONDS


@dataclass(frozen=True)
class Lease:
    """A collection as the catalog had it, and until when nobody relies on its being known otherwise.

    Work that ends before `until` (by time.monotonic) was done on tables that were the right ones.
    """

    spec: CollectionSpec
    until: float

    @property
    def valid(self) -> bool:
        """Whether that time has not come."""
        return time.monotonic() < self.until


class Catalog:
    """Collections and aliases by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._claims = NameClaims(engine)
        self._alias_documents = AliasDocuments(engine, self._claims)
        self._known: dict[str, _Known] = {}
        self._aliases: dict[str, tuple[str, float]] = {}
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def get(self, name: str, *, fresh: bool = False, field: str = "collection") -> CollectionSpec:
        """The collection of that name or alias; `fresh` reads it anew.

        Raises CollectionNotFound, which names the `field` that the name came from.
        """
        return (await self.lease(name, fresh=fresh, field=field)).spec

    async def lease(self, name: str, *, fresh: bool = False, field: str = "collection") -> Lease:
        """As `get`, with the time until which work may rely on it."""
        now = begin = time.monotonic()
        target, since = self._aliases.get(name, (name, math.inf))
        known = self._known.get(target)
        if known is not None and not fresh:
            begin = min(known.since, since)
        if known is None or fresh or now - begin >= known.belief:
            begin, known = now, await self._read(name, field)
        elif now - begin > known.belief / 2:
            self._renew(name)
        note("model", known.spec.model)
        return Lease(known.spec, begin + known.belief)

    async def _read(self, name: str, field: str) -> _Known:
        begin = time.monotonic()
        try:
            found = await self._find(name, field)
            self._aliases.pop(name, None)
            return found
        except CollectionNotFound:
            self._aliases.pop(name, None)
            document = await self._alias_documents.read(name)
            if document is None:
                raise
        target = read_alias(document)
        known = await self._find(target, field)
        self._aliases[name] = (target, begin)
        return known

    def _renew(self, name: str) -> None:
        """Reads a name again in the background, so that those who use it often do not wait for the engine."""

        async def read() -> None:
            with contextlib.suppress(ClipserveError):
                await self._read(name, "collection")

        if name not in self._renewals:
            task = asyncio.create_task(read(), name=f"read collection {name} again")
            self._renewals[name] = task
            task.add_done_callback(lambda _: self._renewals.pop(name, None))

    async def close(self) -> None:
        """Ends what is under way in the background."""
        tasks = list(self._renewals.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: str, field: str = "collection") -> _Known:
        """What the engine says now."""
        begin = time.monotonic()
        document = await self._document(name)
        if document is None:
            self._known.pop(name, None)
            raise CollectionNotFound(f"there is no collection {name[:80]!r}", field=field)
        return self._remember(document, begin)

    async def _document(self, name: str) -> Document | None:
        # What cannot be a name is not asked for: engines remember what they did not find.
        return await self._engine.get_document(COLLECTIONS + name) if NAME.fullmatch(name) else None

    def _remember(self, document: Document, begin: float) -> _Known:
        """Notes a document whose read began then; of two that cross, the newer version stays."""
        found = _Known(read_spec(document.value), document.version, begin)
        known = self._known.get(found.spec.name)
        same = known is not None and known.spec.create_time == found.spec.create_time
        if known is None or not same or known.version <= found.version:
            self._known[found.spec.name] = found
        return found

    async def all(self) -> list[CollectionSpec]:
        """All collections, by name."""
        return [spec for spec, _ in await self.versions()]

    async def versions(self) -> list[tuple[CollectionSpec, int]]:
        """All collections with the versions of their documents, which grow with each change."""
        begin = time.monotonic()
        found = await self._engine.documents(COLLECTIONS)
        return [(self._remember(document, begin).spec, document.version) for document in found]

    async def create(self, spec: CollectionSpec) -> None:
        """Makes an empty collection; CollectionExists if the name is taken, by an alias too."""
        name, begin = spec.name, time.monotonic()

        async def make() -> bool:
            await create_table(self._engine, spec, spec.serving)
            made = False
            try:
                made = await self._engine.put_document(COLLECTIONS + name, write_spec(spec), version=0)
            finally:
                if not made:
                    await drop_table(self._engine, spec.serving.table)
            return made

        async def undo() -> None:
            await self._engine.delete_document(COLLECTIONS + name, version=1)
            await drop_table(self._engine, spec.serving.table)

        free = functools.partial(self._check_free, name, "name")
        await self._claims.make_or_wait(name, "collection", free, make, undo)
        self._known[name] = _Known(spec, 1, begin)

    async def _check_free(self, name: str, field: str) -> None:
        if await self._document(name) is not None:
            raise CollectionExists(f"there is a collection {name!r} already", field=field)
        if await self._alias_documents.read(name) is not None:
            raise CollectionExists(f"{name!r} is an alias already", field=field)

    async def update(self, name: str, change: Callable[[CollectionSpec], CollectionSpec]) -> CollectionSpec:
        """Changes a collection's document: all of it or, where `change` raises, nothing.

        `change` may be called several times, where others write the same document.
        """
        for _ in range(UPDATE_ATTEMPTS):
            known = await self._find(name)
            changed = change(known.spec)
            if changed == known.spec or await self._put(known, changed):
                return changed
        raise Conflict(f"collection {name!r} is being changed by others; try again")

    async def _put(self, known: _Known, changed: CollectionSpec) -> bool:
        """Writes a collection's document over the one that is known; False if that is not the latest."""
        begin = time.monotonic()
        key = COLLECTIONS + changed.name
        written = await self._engine.put_document(key, write_spec(changed), version=known.version)
        if written:
            self._known[changed.name] = _Known(changed, known.version + 1, begin)
        return written

    async def drop(self, name: str, shown: Callable[[str], bool] = lambda alias: True) -> None:
        """Removes a collection with all its points; CollectionHasAliases where an alias means it.

        The error names the aliases that are `shown`, and says nothing of the others.
        """
        for _ in range(UPDATE_ATTEMPTS):
            known, claim = await self._find(name, "name"), await self._claims.read(name)
            aliases = [alias for alias, target in (await self.aliases()).items() if target == name]
            if aliases:
                named = ", ".join(filter(shown, aliases)) or "an alias"
                raise CollectionHasAliases(
                    f"collection {name!r} is meant by {named}; delete or change that first", field="name"
                )
            if await self._engine.delete_document(COLLECTIONS + name, version=known.version):
                self._known.pop(name, None)
                if claim is not None:
                    await self._claims.give_back(claim)
                for generation in known.spec.generations:
                    await drop_table(self._engine, generation.table)
                return
        raise Conflict(f"collection {name!r} is being changed by others; try again")

    async def put_alias(self, alias: str, collection: str) -> str:
        """Lets an alias mean a collection from now on; what it meant before, empty if it is new."""
        await self._find(collection, "alias.collection")
        begin = time.monotonic()
        free = functools.partial(self._check_free, alias, "alias.name")
        before = await self._alias_documents.put(alias, collection, free, lambda: self._touch(collection))
        self._aliases[alias] = (collection, begin)
        self._known.pop(alias, None)
        if before not in ("", collection):
            # Until then others may still read and write what it meant before.
            await asyncio.sleep(RETARGET_SECONDS)
        return before

    async def _touch(self, name: str) -> bool:
        """Writes a collection's document as it is, so that no drop that looked earlier succeeds.

        False where the collection is gone.
        """
        with contextlib.suppress(CollectionNotFound):
            for _ in range(UPDATE_ATTEMPTS):
                known = await self._find(name)
                if await self._put(known, known.spec):
                    return True
            raise Conflict(f"collection {name!r} is being changed by others; try again")
        return False

    async def delete_alias(self, alias: str) -> None:
        """Removes an alias; AliasNotFound."""
        self._aliases.pop(alias, None)
        await self._alias_documents.delete(alias)

    async def aliases(self) -> dict[str, str]:
        """All aliases and the collections they mean, by alias."""
        return await self._alias_documents.all()

    async def reading(
        self, name: str, work: Callable[[CollectionSpec], Awaitable[T]], *, field: str = "collection"
    ) -> T:
        """`work` on a collection; again where another table began to answer meanwhile, or its own is gone."""
        lease = await self.lease(name, field=field)
        for _ in range(READ_ATTEMPTS):
            try:
                found = await work(lease.spec)
                if lease.valid:
                    return found
                again = await self.lease(name, fresh=True, field=field)
                if again.spec.serving == lease.spec.serving:
                    return found
            except TableNotFound:
                again = await self.lease(name, fresh=True, field=field)
                if again.spec.generations == lease.spec.generations:
                    raise
            lease = again
        raise Conflict(f"collection {name!r} is being changed by others; try again")
