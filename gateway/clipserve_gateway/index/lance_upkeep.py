"""What keeps a table fast behind the scenes: small files merged, old versions dropped, columns indexed."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clipserve_gateway.index.lance_write import is_conflict, retrying

log = logging.getLogger(__name__)

COMMITS = 100
"""Every commit leaves a small file behind; searches slow down with their number."""
SECONDS = 60.0
"""Fewer commits than that are seen to after this time."""
KEEP_VERSIONS = dt.timedelta(minutes=10)
"""Old versions stay for readers that are still at them."""


@dataclass(frozen=True)
class Index:
    """An index that a table gets when it has `from_rows` rows; `config` makes LanceDB's description of it."""

    column: str
    from_rows: int
    config: Callable[[], Any]


class Upkeep:
    """Of one table. Told of each commit; works beside the writers, at most once at a time.

    Writers hold `writing`, so that they can be made to wait.
    """

    def __init__(self, table: Any, what: str, writing: asyncio.Lock, indexes: Sequence[Index] = ()) -> None:
        self._table = table
        self._what = what
        self._writing = writing
        self._indexes = indexes
        self._commits = 0
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._working = False

    def committed(self) -> None:
        """Counts a commit."""
        self._commits += 1
        if self._commits >= COMMITS:
            self._due.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"upkeep of {self._what}")

    async def close(self) -> None:
        """Waits for work under way, and begins no more."""
        if self._task is None:
            return
        if not self._working:
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Waits until it is worth it, and works, until nothing is left to do."""
        while self._commits:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._due.wait(), SECONDS)
            self._due.clear()
            self._commits = 0
            self._working = True
            try:
                await self.work()
            except Exception as error:
                # It is repeated; only slowness is at stake.
                log.warning("upkeep of %s failed: %s", self._what, error)
            finally:
                self._working = False

    async def _optimize(self) -> None:
        await self._table.optimize(cleanup_older_than=KEEP_VERSIONS)

    async def work(self) -> None:
        """Merges small files, also into the indexes, and makes the indexes that are due."""
        try:
            await self._optimize()
        except Exception as error:
            if not is_conflict(error):
                raise
            # Points that are replaced all the time would never let it finish: for once, writers wait.
            async with self._writing:
                await retrying(self._optimize)
        if not self._indexes:
            return
        rows = await self._table.count_rows()
        there = {column for index in await self._table.list_indices() for column in index.columns}
        for index in self._indexes:
            if rows >= index.from_rows and index.column not in there:
                log.info("indexing %s of %d points of %s", index.column, rows, self._what)
                await self._table.create_index(index.column, config=index.config())
