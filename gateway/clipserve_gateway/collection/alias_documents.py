"""The documents of aliases, changed by compare-and-set."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Awaitable, Callable

from clipserve_gateway.collection.name_claims import NameClaims
from clipserve_gateway.collection.spec import NAME
from clipserve_gateway.errors import AliasNotFound, CollectionNotFound, Conflict
from clipserve_gateway.index.base import Document, Engine

ALIASES = "names/alias/"
ATTEMPTS = 16
RETRY_SECONDS = 0.1


class AliasDocuments:
    """Of one engine."""

    def __init__(self, engine: Engine, claims: NameClaims) -> None:
        self._engine = engine
        self._claims = claims

    async def read(self, alias: str) -> Document | None:
        """The document of an alias."""
        # What cannot be a name is not asked for: engines remember what they did not find.
        return await self._engine.get_document(ALIASES + alias) if NAME.fullmatch(alias) else None

    async def all(self) -> dict[str, str]:
        """All aliases and the collections they mean, by alias."""
        found = await self._engine.documents(ALIASES)
        return {document.key.removeprefix(ALIASES): read_alias(document) for document in found}

    async def put(
        self,
        alias: str,
        collection: str,
        check_free: Callable[[], Awaitable[None]],
        touch: Callable[[], Awaitable[bool]],
    ) -> str:
        """Lets an alias mean a collection; what it meant before, empty if it is new.

        Args:
            check_free: raises where a new alias takes a name that is taken.
            touch: changes the version of the collection's document, so that no drop that looked for aliases
                earlier succeeds; False if the collection is gone.
        """
        key, value = ALIASES + alias, json.dumps({"collection": collection}).encode()
        for _ in range(ATTEMPTS):
            found = await self.read(alias)
            version = 0 if found is None else found.version
            put = functools.partial(self._engine.put_document, key, value, version=version)
            undo = functools.partial(self._undo, alias, found)
            if not await (put() if found else self._claims.make(alias, "alias", check_free, put, undo)):
                await asyncio.sleep(random.uniform(0, RETRY_SECONDS))
                continue
            if not await touch():
                await undo()
                raise CollectionNotFound(
                    f"there is no collection {collection[:80]!r}", field="alias.collection"
                )
            return "" if found is None else read_alias(found)
        raise Conflict(f"alias {alias!r} is being changed by others; try again")

    async def _undo(self, alias: str, before: Document | None) -> None:
        """Lets an alias be as it was before it was put, unless others have changed it since."""
        if before is not None:
            await self._engine.put_document(ALIASES + alias, before.value, version=before.version + 1)
        else:
            await self._remove(alias, 1)

    async def delete(self, alias: str) -> None:
        """Removes an alias; AliasNotFound."""
        found = await self.read(alias)
        if found is None:
            raise AliasNotFound(f"there is no alias {alias[:80]!r}", field="name")
        if not await self._remove(alias, found.version):
            raise Conflict(f"alias {alias!r} is being changed by others; try again")

    async def _remove(self, alias: str, version: int) -> bool:
        claim = await self._claims.read(alias)
        removed = await self._engine.delete_document(ALIASES + alias, version=version)
        if removed and claim is not None:
            await self._claims.give_back(claim)
        return removed


def read_alias(document: Document) -> str:
    """The collection that an alias means."""
    return str(json.loads(document.value)["collection"])
