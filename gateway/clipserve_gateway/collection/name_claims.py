"""Claims: one document decides which of a collection and an alias gets a name.

Collections and aliases have documents of their own, so checking that a name is free and taking it are two
steps. Whoever wants a name first puts a claim under it, by compare-and-set: of several, by any gateways, one
gets it. A claim outlives its making; it is removed with its collection or alias.
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
LOOK_SECONDS = 0.05
"""Between two looks at a name that another caller is just making something of."""

Kind: TypeAlias = Literal["collection", "alias"]


@dataclass(frozen=True)
class Claim:
    """A name that is held, and the version of the document that says so."""

    name: str
    token: str
    version: int


class NameClaims:
    """Of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def make_or_wait(
        self,
        name: str,
        kind: Kind,
        check_free: Callable[[], Awaitable[None]],
        make: Callable[[], Awaitable[bool]],
        undo: Callable[[], Awaitable[None]],
    ) -> None:
        """As `make`, and waits while another caller is just making one of that name.

        So `check_free` raises for a name only when what has it can be read. If the other caller fails, it is
        made here. The wait ends with its call, or when the other's claim has grown old.
        """
        while True:
            if await self.make(name, kind, check_free, make, undo):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def make(
        self,
        name: str,
        kind: Kind,
        check_free: Callable[[], Awaitable[None]],
        make: Callable[[], Awaitable[bool]],
        undo: Callable[[], Awaitable[None]],
    ) -> bool:
        """Makes a collection or an alias; False where another caller is just making one of that name.

        Args:
            check_free: raises where the name has a collection or an alias.
            make: makes it; False if it is there already.
            undo: removes what was made.
        """
        await check_free()
        claim = await self._take(name, kind)
        if claim is None:
            return False
        try:
            # The name may have been taken, and its claim grown old, since it was looked at.
            await check_free()
            made = await make()
            if made and not await self._holds(claim):
                await undo()
                raise Conflict(f"{name!r} took too long to make, and others have the name now; try again")
        except BaseException:
            await asyncio.shield(self.give_back(claim))
            raise
        return made

    async def _take(self, name: str, kind: Kind) -> Claim | None:
        """Claims a name that has neither a collection nor an alias; None where another caller has."""
        found = await self._engine.get_document(CLAIMS + name)
        if found is not None and time.time() - json.loads(found.value)["time"] < ABANDONED_SECONDS:
            return None
        version = 0 if found is None else found.version
        token = secrets.token_hex(8)
        value = json.dumps({"kind": kind, "token": token, "time": time.time()}).encode()
        taken = await self._engine.put_document(CLAIMS + name, value, version=version)
        return Claim(name, token, version + 1) if taken else None

    async def _holds(self, claim: Claim) -> bool:
        """Whether the claim is still there: one that was held for too long is taken by others."""
        found = await self._engine.get_document(CLAIMS + claim.name)
        return found is not None and json.loads(found.value)["token"] == claim.token

    async def give_back(self, claim: Claim) -> None:
        """Lets others have the name, if it is not theirs already."""
        await self._engine.delete_document(CLAIMS + claim.name, version=claim.version)

    async def read(self, name: str) -> Claim | None:
        """The claim of a name that is about to be removed; older releases made none."""
        found = await self._engine.get_document(CLAIMS + name)
        return None if found is None else Claim(name, json.loads(found.value)["token"], found.version)
