"""Who cares for a table, where several processes could: two at once would undo each other's work.

A lease that is taken over from a live owner (its clock stood still, say) costs work done twice, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from clipserve_gateway.index.lance.documents import LanceDocuments

log = logging.getLogger(__name__)

LEASES = "clipserve_leases"
SECONDS = 30.0
"""A lease whose owner was killed is free after this time; clocks may differ by less."""
RENEW_SECONDS = 10.0
ASK_SECONDS = 1.0


class Lease:
    """Of one table, in one process; several tasks of it may hold it at once."""

    def __init__(self, documents: Callable[[], Awaitable[LanceDocuments]], table: str) -> None:
        self._documents = documents
        self._key = table
        self._owner = secrets.token_hex(8)
        self._changing = asyncio.Lock()
        self._holders = 0
        self._renewing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def held(self, *, wait: bool = False) -> AsyncIterator[bool]:
        """Holds the lease, or tells that another process does; with `wait` it waits until that is done."""
        mine = await self._enter()
        while wait and not mine:
            await asyncio.sleep(ASK_SECONDS)
            mine = await self._enter()
        try:
            yield mine
        finally:
            if mine:
                await asyncio.shield(self._leave())

    async def _enter(self) -> bool:
        async with self._changing:
            if self._holders == 0:
                if not await self._take():
                    return False
                self._renewing = asyncio.create_task(self._renew(), name=f"lease of {self._key}")
            self._holders += 1
            return True

    async def _leave(self) -> None:
        async with self._changing:
            self._holders -= 1
            if self._holders == 0 and self._renewing is not None:
                self._renewing.cancel()
                try:
                    await self._take(seconds=0)
                except Exception as error:
                    log.warning("the lease of %s runs out by itself: %s", self._key, error)

    async def _take(self, seconds: float | None = None) -> bool:
        """Writes the lease if nobody else has it; `seconds` 0 gives it back."""
        documents = await self._documents()
        there = await documents.get(self._key)
        facts: dict[str, Any] = json.loads(there.value) if there else {"owner": "", "until": 0.0}
        if facts["owner"] != self._owner and facts["until"] > time.time():
            return False
        value = json.dumps(
            {"owner": self._owner, "until": time.time() + (SECONDS if seconds is None else seconds)}
        ).encode()
        return await documents.put(self._key, value, version=there.version if there else 0)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(Exception):
                await self._take()
