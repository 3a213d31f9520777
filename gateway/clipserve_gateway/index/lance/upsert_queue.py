"""Gathers upserts into few commits. Every commit adds a file, and files slow all searches down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipserve_gateway.index.lance.commits import merge, storage_failed
from clipserve_gateway.index.lance.rows import point_bytes, to_arrow
from clipserve_gateway.index.lance.sync import TableSync
from clipserve_gateway.index.values import Point, TableSpec
from clipserve_gateway.process.batches import batches

ROWS_PER_COMMIT = 4096
BYTES_PER_COMMIT = 32 << 20
"""Memory of a commit's points; a single point may be larger."""


@dataclass
class PendingUpsert:
    """Points of one call that wait for their commit."""

    points: Sequence[Point]
    replace: bool
    bytes: int
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class UpsertQueue:
    """Upserts of one table. Calls that arrive during a commit share the next one.

    A call returns when its own commits are on disk, and fails only if one of them fails.
    """

    def __init__(
        self,
        table: Any,
        spec: TableSpec,
        writing: asyncio.Lock,
        note_commit: Callable[[], None],
        sync: TableSync,
    ) -> None:
        self._table = table
        self._spec = spec
        self._writing = writing
        self._note_commit = note_commit
        self._sync = sync
        self._waiting: deque[PendingUpsert] = deque()
        self._task: asyncio.Task[None] | None = None

    async def upsert(self, points: Sequence[Point], *, replace: bool) -> None:
        """See Engine. If it is cancelled, parts whose commit has not begun are not written."""
        parts = batches(points, point_bytes, ROWS_PER_COMMIT, BYTES_PER_COMMIT)
        writes = [PendingUpsert(part, replace, size) for part, size in parts]
        self._waiting.extend(writes)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name=f"upserts of {self._spec.name}")
        await asyncio.gather(*(write.done for write in writes))

    async def close(self) -> None:
        """Waits until all waiting points are written."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Commits until nothing waits. As a task of its own, it goes on when a caller is cancelled."""
        while self._waiting:
            async with self._writing:
                await self._commit(self._next_batch())

    def _next_batch(self) -> list[PendingUpsert]:
        """The next waiting upserts that fit into one commit: same `replace`, and not cancelled."""
        batch: list[PendingUpsert] = []
        rows = bytes = 0
        while self._waiting:
            write = self._waiting[0]
            rows += len(write.points)
            bytes += write.bytes
            full = rows > ROWS_PER_COMMIT or bytes > BYTES_PER_COMMIT
            if batch and (full or write.replace != batch[0].replace):
                break
            self._waiting.popleft()
            if not write.done.cancelled():
                batch.append(write)
        return batch

    async def _commit(self, batch: Sequence[PendingUpsert]) -> None:
        """Writes a batch and completes its calls.

        Of two points with the same id, the later one is written; without `replace`, the earlier one.
        """
        chosen: dict[str, Point] = {}
        for write in batch:
            for point in write.points:
                if write.replace or point.id not in chosen:
                    chosen[point.id] = point
        try:
            if chosen:
                self._sync.check()
                rows = await asyncio.to_thread(to_arrow, self._spec, list(chosen.values()))
                await merge(self._table, "id", rows, replace=batch[0].replace)
                self._note_commit()
                await self._sync.sync()
        except Exception as error:
            for write in batch:
                if not write.done.done():
                    write.done.set_exception(storage_failed(error))
                    # A caller that is cancelled at this moment does not retrieve the exception.
                    write.done.exception()
        for write in batch:
            if not write.done.done():
                write.done.set_result(None)
