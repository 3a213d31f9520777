"""Erases deleted rows of every table at regular intervals: their bytes leave all files in bounded time.

The tables themselves tell what is due, so nothing is forgotten at a restart, and any gateway can continue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

PASSES = 3
"""Passes within the promised time: one writes files without deleted rows, the next removes the old files."""
FIRST_SECONDS = 30.0
"""Longest wait for the first pass after the start."""


class Sweep:
    """Erases deleted rows of all tables, at most `seconds` after they were deleted; 0 turns it off."""

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
        """Starts the sweep, if it does not run yet."""
        if self._task is None and self._pause:
            self._task = asyncio.create_task(self._run(), name="sweep of tables")

    async def close(self) -> None:
        """Stops after the table that is being erased now."""
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
        """One pass over all tables. Logs failures; the next pass tries them again."""
        try:
            names = await self._tables()
        except Exception as error:
            log.warning("deleted points are not erased yet, because tables cannot be listed: %s", error)
            return
        for name in names:
            await self._erase_table(name)

    async def _erase_table(self, name: str) -> None:
        try:
            await asyncio.shield(self._erase(name))
        except Exception as error:
            # A table may be dropped meanwhile.
            if "not found" not in str(error).lower():
                log.warning("deleted points of table %s are not erased yet: %s", name, error)
