"""When a table is cared for: after so many commits, or so much time; beside the writers and the readers."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from clipserve_gateway.index.lance import erase as lance_erase
from clipserve_gateway.index.lance import maintenance as lance_care
from clipserve_gateway.index.lance.commits import is_conflict, retrying
from clipserve_gateway.index.lance.indexes import Index
from clipserve_gateway.index.lance.sync import TableSync

log = logging.getLogger(__name__)
T = TypeVar("T")

COMMITS = 50
"""Every commit leaves a small file behind; searches slow down with their number."""
SECONDS = 60.0
"""Fewer commits than that are seen to after this time."""
BUSY_SECONDS = 10.0
"""So often files are merged while an index is being made, and is a lease asked for that another one has."""


class Alone(Protocol):
    """What keeps other processes away."""

    def held(self, *, wait: bool = False) -> AbstractAsyncContextManager[bool]:
        """Whether this process is the one that works."""
        ...


class Unshared:
    """For tables that take so little upkeep that processes may do it side by side."""

    @asynccontextmanager
    async def held(self, *, wait: bool = False) -> AsyncIterator[bool]:
        """Always."""
        yield True


class Upkeep:
    """Of one table. Told of each commit.

    Files are merged every few seconds of busy writing; indexes, which may take minutes, are made meanwhile.
    Writers hold `writing`, so that they can be made to wait.
    """

    def __init__(
        self,
        table: Any,
        what: str,
        writing: asyncio.Lock,
        indexes: Sequence[Index] = (),
        *,
        sync: TableSync,
        lease: Alone | None = None,
        commits: int | None = None,
    ) -> None:
        self.indexes = indexes
        self._table = table
        self._what = what
        self._writing = writing
        self._sync = sync
        self._lease: Alone = lease or Unshared()
        self._enough = commits or COMMITS
        self._commits = 0
        self._since = 0.0
        """When the first commit came that was not seen to."""
        self._not_before = self._last = 0.0
        self._closed = False
        self._leftovers_until = 0.0
        """Until then old versions stay that nothing but time makes removable."""
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._indexer: asyncio.Task[None] | None = None
        self._merging = asyncio.Lock()
        self._indexing = asyncio.Lock()
        self._untouched: set[int] = set()
        """Files that an index is being made of: merging them would undo it."""
        self._working = False

    def committed(self) -> None:
        """Counts a commit."""
        if not self._commits:
            self._since = time.monotonic()
        self._commits += 1
        if self._commits == 1 or self._commits >= self._enough:
            self._woken.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"upkeep of {self._what}")

    async def close(self) -> None:
        """Waits for work under way, and begins no more."""
        self._closed = True
        if self._task is None:
            return
        if not self._working:
            self._task.cancel()
        self._commits, self._leftovers_until = 0, 0.0
        self._woken.set()
        await asyncio.wait([self._task])
        if self._indexer is not None:
            await asyncio.wait([self._indexer])

    async def work(self) -> None:
        """All of it, now; every row is in every index that is due when this returns."""
        async with self._lease.held(wait=True):
            await self._merge_files()
            async with self._indexing:
                await self._index(all_rows=True)
            await self._merge_files()

    async def erase(self, keep: dt.timedelta = lance_care.KEEP_VERSIONS, *, wait: bool = False) -> None:
        """Takes deleted rows out of the newest version's files, and removes versions older than `keep`.

        Another process that maintains the table is waited for with `wait`; without, it is left to that.
        """
        async with self._lease.held(wait=wait) as mine:
            if not mine:
                return
            async with self._indexing, self._merging:
                if await self._on_dataset(lance_erase.is_due):
                    await self._over_writers(lance_erase.renew)
                await self._over_writers(lance_erase.drop_leftovers)
                await self._sync.sync()
            if wait:
                # Reads under way are at an older version.
                await asyncio.sleep(keep.total_seconds())
            await self._on_dataset(functools.partial(lance_erase.drop_old_versions, keep=keep))

    async def _over_writers(self, work: Callable[[Any], Any]) -> None:
        """Does what writers may get in the way of; then they wait for it."""
        try:
            await self._on_dataset(work)
        except Exception as error:
            if not is_conflict(error):
                raise
            async with self._writing:
                await retrying(lambda: self._on_dataset(work))

    async def _run(self) -> None:
        """Waits until it is worth it, and works, until nothing is left to do."""
        while (pause := self._pause()) is not None:
            self._woken.clear()
            if pause > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)
                continue
            self._working = True
            await self._turn()
            self._working = False

    def _pause(self) -> float | None:
        """Seconds until there is something to do; None if there is nothing."""
        if self._commits >= self._enough:
            due = self._since
        elif self._commits:
            due = self._since + SECONDS
        elif self._is_indexing():
            # Other processes, which write as well, leave the upkeep to this one meanwhile.
            due = self._last + BUSY_SECONDS
        elif self._leftovers_until:
            due = self._leftovers_until + SECONDS
        else:
            return None
        return max(0.0, max(due, self._not_before) - time.monotonic())

    def _is_indexing(self) -> bool:
        return self._indexer is not None and not self._indexer.done()

    async def _turn(self) -> None:
        self._last = time.monotonic()
        try:
            async with self._lease.held() as mine:
                if not mine:
                    self._not_before = time.monotonic() + BUSY_SECONDS
                    return
                keep = lance_care.KEEP_VERSIONS.total_seconds()
                self._leftovers_until = time.monotonic() + keep if self._commits else 0.0
                self._commits = 0
                await self._merge_files()
        except Exception as error:
            self._put_off(error)
            return
        if self.indexes and not self._is_indexing():
            self._indexer = asyncio.create_task(self._index_beside(), name=f"indexing {self._what}")

    async def _index_beside(self) -> None:
        try:
            async with self._lease.held() as mine, self._indexing:
                if mine:
                    await self._index()
        except Exception as error:
            self._put_off(error)

    def _put_off(self, error: Exception) -> None:
        """Tries again later, unless the table is gone; only slowness is at stake."""
        if "not found" in str(error).lower():
            self._commits, self._leftovers_until = 0, 0.0
            return
        log.warning("upkeep of %s failed: %s", self._what, error)
        self._not_before = time.monotonic() + SECONDS
        if not self._closed:
            self.committed()

    async def _merge_files(self) -> None:
        async with self._merging:
            try:
                await self._on_dataset(self._merge)
            except Exception as error:
                if not is_conflict(error):
                    raise
                # Points that are replaced all the time would never let it finish: for once, writers wait.
                async with self._writing:
                    await retrying(lambda: self._on_dataset(self._merge))
            if await self._on_dataset(lance_care.worn_files) - self._untouched:
                # A try that fails leaves its files behind for days: large ones are not tried in vain.
                async with self._writing:
                    await retrying(lambda: self._on_dataset(self._renew))
            # What is removed may be all that is on the disk of these points until the merged files are.
            await self._sync.sync()
            await self._on_dataset(lance_care.drop_old_versions)

    def _merge(self, dataset: Any) -> None:
        lance_care.merge_files(dataset, self._untouched)

    def _renew(self, dataset: Any) -> None:
        lance_care.renew_files(dataset, self._untouched)

    async def _index(self, *, all_rows: bool = False) -> None:
        for index in self.indexes:
            self._sync.check()
            async with self._merging:
                dataset = await self._open()
                self._untouched = await asyncio.to_thread(lance_care.fragment_ids, dataset)
            try:
                await asyncio.to_thread(lance_care.index, dataset, index, all_rows=all_rows)
            finally:
                self._untouched = set()

    async def _on_dataset(self, work: Callable[[Any], T]) -> T:
        self._sync.check()
        return await asyncio.to_thread(work, await self._open())

    async def _open(self) -> Any:
        uri, options = await self._table.uri(), await self._table.latest_storage_options()
        return await asyncio.to_thread(lance_care.open_dataset, uri, options)
