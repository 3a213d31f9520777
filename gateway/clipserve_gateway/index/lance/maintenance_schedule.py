"""Schedules a table's maintenance: after a number of commits or some time, while it is read and written."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from clipserve_gateway.index.lance import erase, maintenance
from clipserve_gateway.index.lance.commits import is_conflict, retrying
from clipserve_gateway.index.lance.indexes import Index
from clipserve_gateway.index.lance.sync import TableSync

log = logging.getLogger(__name__)
T = TypeVar("T")

COMMITS = 50
"""Every commit leaves a small file behind; searches slow down with the number of files."""
SECONDS = 60.0
"""Fewer commits than COMMITS are maintained after this time."""
BUSY_SECONDS = 10.0
"""Pause between merges of files while an index is built, and between requests for a lease that is taken."""


@asynccontextmanager
async def no_lease(*, wait: bool = False) -> AsyncIterator[bool]:
    """Always true: for tables whose maintenance is so short that processes may do it at the same time."""
    yield True


class TableMaintenance:
    """Maintains one table. Writers report each commit with `note_commit`.

    Merges files every few seconds while there are many writes; builds indexes, which may take minutes, at the
    same time. Writers hold the lock `writing`, so that maintenance can make them wait. The context `lease`
    tells whether this process may work on the table until the context ends; see Lease.held.
    """

    def __init__(
        self,
        table: Any,
        name: str,
        writing: asyncio.Lock,
        indexes: Sequence[Index] = (),
        *,
        sync: TableSync,
        lease: Callable[..., AbstractAsyncContextManager[bool]] = no_lease,
        commits: int | None = None,
    ) -> None:
        self.indexes = indexes
        self._table = table
        self._name = name
        self._writing = writing
        self._sync = sync
        self._lease = lease
        self._enough = commits or COMMITS
        self._commits = 0
        """Commits since the last run."""
        self._since = 0.0
        """When the first of these commits came."""
        self._not_before = self._last = 0.0
        self._closed = False
        self._old_versions_until = 0.0
        """When the last old versions become removable; 0 if there are none."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._indexer: asyncio.Task[None] | None = None
        self._merging = asyncio.Lock()
        self._indexing = asyncio.Lock()
        self._in_indexing: set[int] = set()
        """Files of which an index is being built. Merging them would make the index useless."""
        self._working = False

    def note_commit(self) -> None:
        """Counts a commit, and starts maintenance when it is due."""
        if not self._commits:
            self._since = time.monotonic()
        self._commits += 1
        if self._commits == 1 or self._commits >= self._enough:
            self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"maintenance of {self._name}")

    async def close(self) -> None:
        """Waits for work in progress, and starts no more."""
        self._closed = True
        if self._task is None:
            return
        if not self._working:
            self._task.cancel()
        self._commits, self._old_versions_until = 0, 0.0
        self._woken.set()
        await asyncio.wait([self._task])
        if self._indexer is not None:
            await asyncio.wait([self._indexer])

    async def run_now(self) -> None:
        """Does all maintenance now. When it returns, the indexes that the table needs hold every row."""
        async with self._lease(wait=True):
            await self._merge_files()
            async with self._indexing:
                await self._update_indexes(all_rows=True)
            await self._merge_files()

    async def erase(self, keep: dt.timedelta = maintenance.KEEP_VERSIONS, *, wait: bool = False) -> None:
        """Removes deleted rows from the newest version's files, and versions older than `keep`.

        If another process maintains the table, this waits for it (`wait`) or leaves the work to it.
        """
        async with self._lease(wait=wait) as mine:
            if not mine:
                return
            async with self._indexing, self._merging:
                if await self._on_dataset(erase.holds_deleted_rows):
                    await self._despite_writers(erase.rewrite_without_deleted)
                await self._despite_writers(erase.drop_leftovers)
                await self._sync.sync()
            if wait:
                # Reads in progress use an older version.
                await asyncio.sleep(keep.total_seconds())
            await self._on_dataset(lambda dataset: maintenance.drop_old_versions(dataset, keep))

    async def _despite_writers(self, work: Callable[[Any], Any]) -> None:
        """Does work that may conflict with commits of writers; after a conflict, writers wait for it."""
        try:
            await self._on_dataset(work)
        except Exception as error:
            if not is_conflict(error):
                raise
            async with self._writing:
                await retrying(lambda: self._on_dataset(work))

    async def _run(self) -> None:
        """Works whenever it is due, until nothing is left to do."""
        while (pause := self._pause()) is not None:
            self._woken.clear()
            if pause > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
                continue
            self._working = True
            await self._run_once()
            self._working = False

    def _pause(self) -> float | None:
        """Seconds until there is something to do; None if there is nothing."""
        if self._commits >= self._enough:
            due = self._since
        elif self._commits:
            due = self._since + SECONDS
        elif self._is_indexing():
            # Other processes write as well, and leave maintenance to this one meanwhile.
            due = self._last + BUSY_SECONDS
        elif self._old_versions_until:
            due = self._old_versions_until + SECONDS
        else:
            return None
        return max(0.0, max(due, self._not_before) - time.monotonic())

    def _is_indexing(self) -> bool:
        return self._indexer is not None and not self._indexer.done()

    async def _run_once(self) -> None:
        self._last = time.monotonic()
        try:
            async with self._lease() as mine:
                if not mine:
                    self._not_before = time.monotonic() + BUSY_SECONDS
                    return
                keep = maintenance.KEEP_VERSIONS.total_seconds()
                self._old_versions_until = time.monotonic() + keep if self._commits else 0.0
                self._commits = 0
                await self._merge_files()
        except Exception as error:
            self._retry_later(error)
            return
        if self.indexes and not self._is_indexing():
            self._indexer = asyncio.create_task(self._index_in_background(), name=f"indexing {self._name}")

    async def _index_in_background(self) -> None:
        try:
            async with self._lease() as mine, self._indexing:
                if mine:
                    await self._update_indexes()
        except Exception as error:
            self._retry_later(error)

    def _retry_later(self, error: Exception) -> None:
        """Schedules another try, unless the table was dropped. Until then the table is only slower."""
        if "not found" in str(error).lower():
            self._commits, self._old_versions_until = 0, 0.0
            return
        log.warning("maintenance of table %s failed, next try in %g s: %s", self._name, SECONDS, error)
        self._not_before = time.monotonic() + SECONDS
        if not self._closed:
            self.note_commit()

    async def _merge_files(self) -> None:
        async with self._merging:
            # Commits that replace points all the time could keep a merge from ever finishing.
            await self._despite_writers(lambda dataset: maintenance.merge_files(dataset, self._in_indexing))
            if await self._on_dataset(maintenance.worn_files) - self._in_indexing:
                # A failed try leaves its files behind for days, and these are large: writers wait at once.
                async with self._writing:
                    await retrying(
                        lambda: self._on_dataset(
                            lambda dataset: maintenance.renew_files(dataset, self._in_indexing)
                        )
                    )
            # Until the merged files are on disk, the old versions may be the only copy of their points there.
            await self._sync.sync()
            keep = maintenance.KEEP_VERSIONS
            await self._on_dataset(lambda dataset: maintenance.drop_old_versions(dataset, keep))

    async def _update_indexes(self, *, all_rows: bool = False) -> None:
        for index in self.indexes:
            self._sync.check()
            async with self._merging:
                dataset = await maintenance.open_newest(self._table)
                self._in_indexing = await asyncio.to_thread(maintenance.fragment_ids, dataset)
            try:
                await asyncio.to_thread(maintenance.update_index, dataset, index, all_rows=all_rows)
            finally:
                self._in_indexing = set()

    async def _on_dataset(self, work: Callable[[Any], T]) -> T:
        self._sync.check()
        return await asyncio.to_thread(work, await maintenance.open_newest(self._table))
