"""Lease: one process at a time maintains a table. Two at once would undo each other's work.

If a process takes a lease over from a live owner, for example because a clock stood still, work is done
twice, and nothing else happens.
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
"""A lease whose owner was killed is free after this time. Clocks of processes must differ by less."""
RENEW_SECONDS = 10.0
ASK_SECONDS = 1.0


class Lease:
    """The lease of one table, in one process; several tasks of this process may hold it at once."""

    def __init__(self, documents: Callable[[], Awaitable[LanceDocuments]], table: str) -> None:
        self._documents = documents
        self._key = table
        self._owner = secrets.token_hex(8)
        self._changing = asyncio.Lock()
        self._holders = 0
        self._renewing: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def held(self, *, wait: bool = False) -> AsyncIterator[bool]:
        """Holds the lease; yields False if another process has it. With `wait`, waits until it is free."""
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
                    log.warning(
                        "the lease of table %s was not given back and expires by itself: %s", self._key, error
                    )

    async def _take(self, seconds: float | None = None) -> bool:
        """Writes the lease if no other process holds it; 0 `seconds` gives it back."""
        documents = await self._documents()
        stored = await documents.get(self._key)
        lease: dict[str, Any] = json.loads(stored.value) if stored else {"owner": "", "until": 0.0}
        if lease["owner"] != self._owner and lease["until"] > time.time():
            return False
        value = json.dumps(
            {"owner": self._owner, "until": time.time() + (SECONDS if seconds is None else seconds)}
        ).encode()
        return await documents.put(self._key, value, version=stored.version if stored else 0)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(Exception):
                await self._take()
