"""Claims: one document per name decides whether a collection or an alias gets the name.

Collections and aliases have documents of their own, so checking that a name is free and taking it are two
steps. A caller that wants a name first writes a claim under it, by compare-and-set: of several callers on any
gateways, one succeeds. A claim stays until its collection or alias is deleted.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from clipserve_gateway.errors import Conflict
from clipserve_gateway.index.base import Engine

CLAIMS = "names/claim/"
ABANDONED_SECONDS = 60.0
"""A claim of this age without a collection or alias was left by a gateway that died."""
POLL_SECONDS = 0.05
"""Between two attempts to claim a name that another caller is claiming."""

Kind: TypeAlias = Literal["collection", "alias"]


@dataclass(frozen=True)
class Claim:
    """A claimed name, and the version of the claim's document."""

    name: str
    token: str
    version: int


class NameClaims:
    """The claims of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def make(
        self,
        name: str,
        kind: Kind,
        check_free: Callable[[], Awaitable[None]],
        make: Callable[[], Awaitable[bool]],
        undo: Callable[[], Awaitable[None]],
    ) -> bool:
        """Makes a collection or an alias; False if another caller is making one with this name.

        Args:
            check_free: raises if the name has a collection or an alias.
            make: makes it; False if it already exists.
            undo: removes what was made.
        """
        await check_free()
        claim = await self._take(name, kind)
        if claim is None:
            return False
        try:
            # Another caller may have taken the name since the first check, with a claim that is old by now.
            await check_free()
            made = await make()
            if made and not await self._holds(claim):
                await undo()
                raise Conflict(f"creating {name!r} took too long and another caller has the name; try again")
        except BaseException:
            await asyncio.shield(self.release(claim))
            raise
        return made

    async def _take(self, name: str, kind: Kind) -> Claim | None:
        """Claims a name that has neither a collection nor an alias; None if another caller has the claim."""
        document = await self._engine.get_document(CLAIMS + name)
        if document is not None and time.time() - json.loads(document.value)["time"] < ABANDONED_SECONDS:
            return None
        version = 0 if document is None else document.version
        token = secrets.token_hex(8)
        value = json.dumps({"kind": kind, "token": token, "time": time.time()}).encode()
        taken = await self._engine.put_document(CLAIMS + name, value, version=version)
        return Claim(name, token, version + 1) if taken else None

    async def _holds(self, claim: Claim) -> bool:
        """Whether the claim still exists; other callers take abandoned claims."""
        document = await self._engine.get_document(CLAIMS + claim.name)
        return document is not None and json.loads(document.value)["token"] == claim.token

    async def release(self, claim: Claim) -> None:
        """Deletes the claim, unless another caller has taken it."""
        await self._engine.delete_document(CLAIMS + claim.name, version=claim.version)

    async def read(self, name: str) -> Claim | None:
        """The claim on a name; None for names that older releases made."""
        document = await self._engine.get_document(CLAIMS + name)
        return (
            None if document is None else Claim(name, json.loads(document.value)["token"], document.version)
        )
