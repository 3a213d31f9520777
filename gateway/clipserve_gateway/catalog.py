"""The catalog: which collections and aliases there are, shared by all gateways on one engine.

Collections and aliases have one name space, and a document each. A collection exists from the moment its
document does: its table is made before, and removed after. Tables have names of their own, never used
twice, so that whoever comes too late, or still holds a collection that is gone, touches no one's points.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from clipserve_gateway.collection_spec import COLLECTIONS, NAME, CollectionSpec, read_spec, write_spec
from clipserve_gateway.errors import (
    AliasNotFound,
    ClipserveError,
    CollectionExists,
    CollectionHasAliases,
    CollectionNotFound,
    Conflict,
    TableNotFound,
)
from clipserve_gateway.index.base import Document, Engine
from clipserve_gateway.store.tables import create_table, drop_table

T = TypeVar("T")

ALIASES = "names/alias/"
BELIEF_SECONDS = 1.0
"""How long what the catalog said is believed: so late is a change by another gateway seen."""
UPDATE_ATTEMPTS = 16


@dataclass(frozen=True)
class _Known:
    """A collection, the version of its document, and when it was read."""

    spec: CollectionSpec
    version: int
    since: float


class Catalog:
    """Collections and aliases by name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, _Known] = {}
        self._aliases: dict[str, tuple[str, float]] = {}
        self._renewals: dict[str, asyncio.Task[None]] = {}

    async def get(self, name: str, *, fresh: bool = False, field: str = "collection") -> CollectionSpec:
        """The collection of that name or alias; `fresh` reads it anew.

        Raises CollectionNotFound, which names the `field` that the name came from.
        """
        target, since = self._aliases.get(name, (name, math.inf))
        known = self._known.get(target)
        if known is not None and not fresh:
            age = time.monotonic() - min(known.since, since)
            if age < BELIEF_SECONDS:
                if age > BELIEF_SECONDS / 2:
                    self._renew(name)
                return known.spec
        return await self._read(name, field)

    async def _read(self, name: str, field: str) -> CollectionSpec:
        try:
            found = await self._find(name, field)
            self._aliases.pop(name, None)
            return found.spec
        except CollectionNotFound:
            self._aliases.pop(name, None)
            document = await self._document(ALIASES, name)
            if document is None:
                raise
        target = read_alias(document)
        known = await self._find(target, field)
        self._aliases[name] = (target, time.monotonic())
        return known.spec

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
        document = await self._document(COLLECTIONS, name)
        if document is None:
            self._known.pop(name, None)
            raise CollectionNotFound(f"there is no collection {name[:80]!r}", field=field)
        return self._remember(document)

    async def _document(self, prefix: str, name: str) -> Document | None:
        # What cannot be a name is not asked for: engines remember what they did not find.
        return await self._engine.get_document(prefix + name) if NAME.fullmatch(name) else None

    def _remember(self, document: Document) -> _Known:
        known = _Known(read_spec(document.value), document.version, time.monotonic())
        self._known[known.spec.name] = known
        return known

    async def all(self) -> list[CollectionSpec]:
        """All collections, by name."""
        return [self._remember(document).spec for document in await self._engine.documents(COLLECTIONS)]

    async def versions(self) -> list[tuple[CollectionSpec, int]]:
        """All collections with the versions of their documents, which grow with each change."""
        found = await self._engine.documents(COLLECTIONS)
        return [(self._remember(document).spec, document.version) for document in found]

    async def create(self, spec: CollectionSpec) -> None:
        """Makes an empty collection; CollectionExists if the name is taken, by an alias too."""
        name = spec.name
        taken = await self._document(COLLECTIONS, name) is not None
        if await self._document(ALIASES, name) is not None:
            raise CollectionExists(f"{name!r} is an alias already", field="name")
        if not taken:
            await create_table(self._engine, spec, spec.serving)
            taken = not await self._engine.put_document(COLLECTIONS + name, write_spec(spec), version=0)
            if taken:
                await drop_table(self._engine, spec.serving.table)
        if taken:
            raise CollectionExists(f"there is a collection {name!r} already", field="name")
        self._known[name] = _Known(spec, 1, time.monotonic())

    async def update(self, name: str, change: Callable[[CollectionSpec], CollectionSpec]) -> CollectionSpec:
        """Changes a collection's document: all of it or, where `change` raises, nothing.

        `change` may be called several times, where others write the same document.
        """
        for _ in range(UPDATE_ATTEMPTS):
            known = await self._find(name)
            changed = change(known.spec)
            if changed == known.spec:
                return changed
            key, value = COLLECTIONS + name, write_spec(changed)
            if await self._engine.put_document(key, value, version=known.version):
                self._known[name] = _Known(changed, known.version + 1, time.monotonic())
                return changed
        raise Conflict(f"collection {name!r} is being changed by others; try again")

    async def drop(self, name: str, shown: Callable[[str], bool] = lambda alias: True) -> None:
        """Removes a collection with all its points; CollectionHasAliases where an alias means it.

        The error names the aliases that are `shown`, and says nothing of the others.
        """
        for _ in range(UPDATE_ATTEMPTS):
            known = await self._find(name, "name")
            aliases = [alias for alias, target in (await self.aliases()).items() if target == name]
            if aliases:
                named = ", ".join(filter(shown, aliases)) or "an alias"
                raise CollectionHasAliases(
                    f"collection {name!r} is meant by {named}; delete or change that first", field="name"
                )
            if await self._engine.delete_document(COLLECTIONS + name, version=known.version):
                self._known.pop(name, None)
                for generation in known.spec.generations:
                    await drop_table(self._engine, generation.table)
                return
        raise Conflict(f"collection {name!r} is being changed by others; try again")

    async def put_alias(self, alias: str, collection: str) -> str:
        """Lets an alias mean a collection from now on; what it meant before, empty if it is new."""
        if await self._document(COLLECTIONS, alias) is not None:
            raise CollectionExists(f"{alias!r} is a collection", field="alias.name")
        await self._find(collection, "alias.collection")
        for _ in range(UPDATE_ATTEMPTS):
            found = await self._document(ALIASES, alias)
            version = 0 if found is None else found.version
            value = json.dumps({"collection": collection}).encode()
            if await self._engine.put_document(ALIASES + alias, value, version=version):
                self._aliases[alias] = (collection, time.monotonic())
                self._known.pop(alias, None)
                return "" if found is None else read_alias(found)
        raise Conflict(f"alias {alias!r} is being changed by others; try again")

    async def delete_alias(self, alias: str) -> None:
        """Removes an alias; AliasNotFound."""
        found = await self._document(ALIASES, alias)
        self._aliases.pop(alias, None)
        if found is None:
            raise AliasNotFound(f"there is no alias {alias[:80]!r}", field="name")
        if not await self._engine.delete_document(ALIASES + alias, version=found.version):
            raise Conflict(f"alias {alias!r} is being changed by others; try again")

    async def aliases(self) -> dict[str, str]:
        """All aliases and the collections they mean, by alias."""
        found = await self._engine.documents(ALIASES)
        return {document.key.removeprefix(ALIASES): read_alias(document) for document in found}

    async def reading(
        self, name: str, work: Callable[[CollectionSpec], Awaitable[T]], *, field: str = "collection"
    ) -> T:
        """`work` on a collection; once more where a table of it went away while the collection stayed."""
        spec = await self.get(name, field=field)
        try:
            return await work(spec)
        except TableNotFound:
            again = await self.get(name, fresh=True, field=field)
            if again.generations == spec.generations:
                raise
            return await work(again)


def read_alias(document: Document) -> str:
    """The collection that an alias means."""
    return str(json.loads(document.value)["collection"])
