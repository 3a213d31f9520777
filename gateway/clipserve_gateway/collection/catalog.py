"""The catalog: all collections and aliases, shared by the gateways on one engine.

Collections and aliases share one name space, and have a document each. A collection exists while its document
exists: its table is created before and dropped after. Table names are never reused, so a caller that is late,
or still holds a deleted collection, cannot touch the points of another one.
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
from clipserve_gateway.collection.background import BackgroundTasks
from clipserve_gateway.collection.name_claims import POLL_SECONDS, NameClaims
from clipserve_gateway.collection.spec import COLLECTIONS, NAME, CollectionSpec, read_spec, write_spec
from clipserve_gateway.collection.tables import create_table, drop_table
from clipserve_gateway.errors import (
    ClipserveError,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    TableNotFound,
    concurrent_change,
)
from clipserve_gateway.flow.stages import note
from clipserve_gateway.index.base import Document, Engine

T = TypeVar("T")

CACHE_SECONDS = 1.0
"""Cache lifetime; changes by other gateways appear within it."""
MIGRATING_CACHE_SECONDS = 0.25
"""Cache lifetime of a collection with a migration: a switch waits until no cache names the old table."""
RETARGET_SECONDS = CACHE_SECONDS
"""Wait after an alias is pointed elsewhere: until then, other gateways' caches may have its old target."""
READ_ATTEMPTS = 8
UPDATE_ATTEMPTS = 16


@dataclass(frozen=True)
class _Entry:
    """A cached collection, and the version of its document."""

    spec: CollectionSpec
    version: int
    read_at: float
    """When the read began: earlier changes are in it."""

    @property
    def lifetime(self) -> float:
        """Seconds for which the entry is used."""
        return CACHE_SECONDS if self.spec.migration is None else MIGRATING_CACHE_SECONDS


@dataclass(frozen=True)
class Lease:
    """A collection as this gateway knows it, and until when all gateways may still use that knowledge.

    Work that ends before `until` (on time.monotonic) has used the right tables.
    """

    spec: CollectionSpec
    until: float

    @property
    def valid(self) -> bool:
        """Whether `until` has not passed."""
        return time.monotonic() < self.until


class Catalog:
    """Collections and aliases by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._claims = NameClaims(engine)
        self._alias_documents = AliasDocuments(engine, self._claims)
        self._cache: dict[str, _Entry] = {}
        self._aliases: dict[str, tuple[str, float]] = {}
        self._renewals = BackgroundTasks()

    async def get(self, name: str, *, fresh: bool = False, field: str = "collection") -> CollectionSpec:
        """The collection with this name or alias; `fresh` bypasses the cache.

        Raises CollectionNotFound for `field`.
        """
        return (await self.lease(name, fresh=fresh, field=field)).spec

    async def lease(self, name: str, *, fresh: bool = False, field: str = "collection") -> Lease:
        """Like `get`, with the time until which the result may be used."""
        now = read_at = time.monotonic()
        target, alias_read_at = self._aliases.get(name, (name, math.inf))
        entry = self._cache.get(target)
        if entry is not None and not fresh:
            read_at = min(entry.read_at, alias_read_at)
        if entry is None or fresh or now - read_at >= entry.lifetime:
            read_at, entry = now, await self._read(name, field)
        elif now - read_at > entry.lifetime / 2:
            # Renewed in the background, so that frequent callers do not wait for the engine.
            self._renewals.start(name, f"read collection {name} again", lambda: self._renew(name))
        note("model", entry.spec.model)
        return Lease(entry.spec, read_at + entry.lifetime)

    async def _read(self, name: str, field: str) -> _Entry:
        read_at = time.monotonic()
        try:
            entry = await self._read_collection(name, field)
            self._aliases.pop(name, None)
            return entry
        except CollectionNotFound:
            self._aliases.pop(name, None)
            document = await self._alias_documents.read(name)
            if document is None:
                raise
        target = read_alias(document)
        entry = await self._read_collection(target, field)
        self._aliases[name] = (target, read_at)
        return entry

    async def _renew(self, name: str) -> None:
        with contextlib.suppress(ClipserveError):
            await self._read(name, "collection")

    async def close(self) -> None:
        """Cancels background reads."""
        await self._renewals.close()

    async def _read_collection(self, name: str, field: str = "collection") -> _Entry:
        """Reads a collection from the engine into the cache."""
        read_at = time.monotonic()
        document = await self._document(name)
        if document is None:
            self._cache.pop(name, None)
            raise CollectionNotFound(f"there is no collection {name[:80]!r}", field=field)
        return self._remember(document, read_at)

    async def _document(self, name: str) -> Document | None:
        # Engines cache keys that they did not find, so invalid names are not looked up.
        return await self._engine.get_document(COLLECTIONS + name) if NAME.fullmatch(name) else None

    def _remember(self, document: Document, read_at: float) -> _Entry:
        """Caches a document, unless a concurrent read cached a newer version."""
        entry = _Entry(read_spec(document.value), document.version, read_at)
        cached = self._cache.get(entry.spec.name)
        same = cached is not None and cached.spec.create_time == entry.spec.create_time
        if cached is None or not same or cached.version <= entry.version:
            self._cache[entry.spec.name] = entry
        return entry

    async def all(self) -> list[CollectionSpec]:
        """All collections, by name."""
        return [spec for spec, _ in await self.versions()]

    async def versions(self) -> list[tuple[CollectionSpec, int]]:
        """All collections with the versions of their documents, which increase with each change."""
        read_at = time.monotonic()
        documents = await self._engine.documents(COLLECTIONS)
        return [(self._remember(document, read_at).spec, document.version) for document in documents]

    async def create(self, spec: CollectionSpec) -> None:
        """Creates an empty collection. Raises CollectionExists if a collection or alias has the name.

        Waits while another caller is creating something with this name, so that the collection in the error
        can be read. If that caller fails, the collection is created.
        """
        name, read_at = spec.name, time.monotonic()

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

        check_free = functools.partial(self._check_free, name, "name")
        while True:
            if await self._claims.make(name, "collection", check_free, make, undo):
                self._cache[name] = _Entry(spec, 1, read_at)
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _check_free(self, name: str, field: str) -> None:
        if await self._document(name) is not None:
            raise CollectionExists(f"there is already a collection {name!r}", field=field)
        if await self._alias_documents.read(name) is not None:
            raise CollectionExists(f"there is already an alias {name!r}", field=field)

    async def update(self, name: str, change: Callable[[CollectionSpec], CollectionSpec]) -> CollectionSpec:
        """Changes a collection's document; not at all if `change` raises.

        `change` is called again if others write the document at the same time.
        """
        for _ in range(UPDATE_ATTEMPTS):
            entry = await self._read_collection(name)
            changed = change(entry.spec)
            if changed == entry.spec or await self._put(entry, changed):
                return changed
        raise concurrent_change("collection", name)

    async def _put(self, entry: _Entry, changed: CollectionSpec) -> bool:
        """Writes a collection's document over the version in `entry`; False if that is not the latest."""
        read_at = time.monotonic()
        key = COLLECTIONS + changed.name
        written = await self._engine.put_document(key, write_spec(changed), version=entry.version)
        if written:
            self._cache[changed.name] = _Entry(changed, entry.version + 1, read_at)
        return written

    async def drop(self, name: str, shown: Callable[[str], bool] = lambda alias: True) -> None:
        """Deletes a collection with all its points. Raises CollectionHasAliases.

        The error names only the aliases that are `shown`.
        """
        for _ in range(UPDATE_ATTEMPTS):
            entry, claim = await self._read_collection(name, "name"), await self._claims.read(name)
            aliases = [alias for alias, target in (await self.aliases()).items() if target == name]
            if aliases:
                named = ", ".join(filter(shown, aliases)) or "an alias"
                raise CollectionHasAliases(
                    f"collection {name!r} has aliases: {named}; delete them or point them to another "
                    "collection first",
                    field="name",
                )
            if await self._engine.delete_document(COLLECTIONS + name, version=entry.version):
                self._cache.pop(name, None)
                if claim is not None:
                    await self._claims.release(claim)
                for generation in entry.spec.generations:
                    await drop_table(self._engine, generation.table)
                return
        raise concurrent_change("collection", name)

    async def put_alias(self, alias: str, collection: str) -> str:
        """Points an alias to a collection; returns the collection that it pointed to before, or ""."""
        await self._read_collection(collection, "alias.collection")
        read_at = time.monotonic()
        free = functools.partial(self._check_free, alias, "alias.name")
        before = await self._alias_documents.put(alias, collection, free, lambda: self._touch(collection))
        self._aliases[alias] = (collection, read_at)
        self._cache.pop(alias, None)
        if before not in ("", collection):
            await asyncio.sleep(RETARGET_SECONDS)
        return before

    async def _touch(self, name: str) -> bool:
        """Writes a collection's document unchanged, so that a drop that read the aliases before fails.

        False if the collection does not exist.
        """
        with contextlib.suppress(CollectionNotFound):
            for _ in range(UPDATE_ATTEMPTS):
                entry = await self._read_collection(name)
                if await self._put(entry, entry.spec):
                    return True
            raise concurrent_change("collection", name)
        return False

    async def delete_alias(self, alias: str) -> None:
        """Deletes an alias. Raises AliasNotFound."""
        self._aliases.pop(alias, None)
        await self._alias_documents.delete(alias)

    async def aliases(self) -> dict[str, str]:
        """Alias → collection, for all aliases."""
        return await self._alias_documents.all()

    async def reading(
        self, name: str, work: Callable[[CollectionSpec], Awaitable[T]], *, field: str = "collection"
    ) -> T:
        """The result of `work`, which is repeated if the collection was switched or its table dropped."""
        lease = await self.lease(name, field=field)
        for _ in range(READ_ATTEMPTS):
            try:
                result = await work(lease.spec)
                if lease.valid:
                    return result
                renewed = await self.lease(name, fresh=True, field=field)
                if renewed.spec.serving == lease.spec.serving:
                    return result
            except TableNotFound:
                renewed = await self.lease(name, fresh=True, field=field)
                if renewed.spec.generations == lease.spec.generations:
                    raise
            lease = renewed
        raise concurrent_change("collection", name)
