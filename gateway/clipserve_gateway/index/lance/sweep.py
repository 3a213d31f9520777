"""Visits every table from time to time, so that what was deleted leaves its files in bounded time.

What is due is read from the tables themselves: a restart forgets nothing, and any gateway goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

PASSES = 3
"""Within the promised time: one writes files without deleted rows, the next removes the old files."""
FIRST_SECONDS = 30.0
"""After the start, at most."""


class Sweep:
    """Erases deleted rows of all tables, `seconds` after they were deleted at most; never where that is 0."""

    def __init__(
        self,
        tables: Callable[[], Awaitable[list[str]]],
        erase: Callable[[str], Awaitable[None]],
        seconds: float,
    ) -> None:
        self._tables = tables
        self._erase = erase
        self._pause = seconds / PASSES
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins, unless it has begun."""
        if self._task is None and self._pause:
            self._task = asyncio.create_task(self._run(), name="sweep of tables")

    async def close(self) -> None:
        """Ends after the table that is being worked on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        pause = min(self._pause, FIRST_SECONDS)
        while True:
            await asyncio.sleep(pause)
            pause = self._pause
            await self.sweep()

    async def sweep(self) -> None:
        """One visit to each table; what fails is told, and tried again at the next."""
        try:
            names = await self._tables()
        except Exception as error:
            log.warning("tables could not be listed to erase what was deleted: %s", error)
            return
        for name in names:
            await self._visit(name)

    async def _visit(self, name: str) -> None:
        try:
            await asyncio.shield(self._erase(name))
        except Exception as error:
            # A table may be dropped meanwhile.
            if "not found" not in str(error).lower():
                log.warning("what was deleted from %s is not erased yet: %s", name, error)
