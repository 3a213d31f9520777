"""The documents of aliases, changed by compare-and-set."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Awaitable, Callable

from clipserve_gateway.collection.name_claims import NameClaims
from clipserve_gateway.collection.spec import NAME
from clipserve_gateway.errors import AliasNotFound, CollectionNotFound, concurrent_change
from clipserve_gateway.index.base import Document, Engine

ALIASES = "names/alias/"
ATTEMPTS = 16
RETRY_SECONDS = 0.1


class AliasDocuments:
    """The aliases of one engine."""

    def __init__(self, engine: Engine, claims: NameClaims) -> None:
        self._engine = engine
        self._claims = claims

    async def read(self, alias: str) -> Document | None:
        """The document of an alias."""
        # Engines cache keys that they did not find, so invalid names are not looked up.
        return await self._engine.get_document(ALIASES + alias) if NAME.fullmatch(alias) else None

    async def all(self) -> dict[str, str]:
        """Alias → collection, for all aliases."""
        documents = await self._engine.documents(ALIASES)
        return {document.key.removeprefix(ALIASES): read_alias(document) for document in documents}

    async def put(
        self,
        alias: str,
        collection: str,
        check_free: Callable[[], Awaitable[None]],
        touch: Callable[[], Awaitable[bool]],
    ) -> str:
        """Points an alias to a collection; returns the collection that it pointed to before, or "".

        Args:
            check_free: raises if the name of a new alias is taken.
            touch: changes the version of the collection's document, so that a drop that read the aliases
                before fails; False if the collection does not exist.
        """
        key, value = ALIASES + alias, json.dumps({"collection": collection}).encode()
        for _ in range(ATTEMPTS):
            document = await self.read(alias)
            version = 0 if document is None else document.version
            put = functools.partial(self._engine.put_document, key, value, version=version)
            undo = functools.partial(self._undo, alias, document)
            if not await (put() if document else self._claims.make(alias, "alias", check_free, put, undo)):
                await asyncio.sleep(random.uniform(0, RETRY_SECONDS))
                continue
            if not await touch():
                await undo()
                raise CollectionNotFound(
                    f"there is no collection {collection[:80]!r}", field="alias.collection"
                )
            return "" if document is None else read_alias(document)
        raise concurrent_change("alias", alias)

    async def _undo(self, alias: str, before: Document | None) -> None:
        """Restores an alias as it was before it was put, unless others have changed it since."""
        if before is not None:
            await self._engine.put_document(ALIASES + alias, before.value, version=before.version + 1)
        else:
            await self._remove(alias, 1)

    async def delete(self, alias: str) -> None:
        """Deletes an alias. Raises AliasNotFound."""
        document = await self.read(alias)
        if document is None:
            raise AliasNotFound(f"there is no alias {alias[:80]!r}", field="name")
        if not await self._remove(alias, document.version):
            raise concurrent_change("alias", alias)

    async def _remove(self, alias: str, version: int) -> bool:
        claim = await self._claims.read(alias)
        removed = await self._engine.delete_document(ALIASES + alias, version=version)
        if removed and claim is not None:
            await self._claims.release(claim)
        return removed


def read_alias(document: Document) -> str:
    """The collection that an alias points to."""
    return str(json.loads(document.value)["collection"])
