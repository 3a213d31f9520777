"""Upserts gathered into few commits: each one costs a file, and files slow every search down."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipserve_gateway.index.lance import rows as lance_rows
from clipserve_gateway.index.lance.commits import merge, storage_failed
from clipserve_gateway.index.lance.sync import TableSync
from clipserve_gateway.index.values import Point, TableSpec

ROWS_PER_COMMIT = 4096
BYTES_PER_COMMIT = 32 << 20
"""What a commit holds in memory; one point alone may be larger."""


@dataclass
class Write:
    """Points of one call that wait for their commit."""

    points: Sequence[Point]
    replace: bool
    bytes: int
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Writer:
    """Of one table. Calls that arrive while a commit is being written share the next one.

    Each returns when its own commits are on disk, and fails only with them.
    """

    def __init__(
        self,
        table: Any,
        spec: TableSpec,
        writing: asyncio.Lock,
        committed: Callable[[], None],
        sync: TableSync,
    ) -> None:
        self._table = table
        self._spec = spec
        self._writing = writing
        self._committed = committed
        self._sync = sync
        self._waiting: deque[Write] = deque()
        self._task: asyncio.Task[None] | None = None

    async def upsert(self, points: Sequence[Point], *, replace: bool) -> None:
        """See Engine. Cancelled before a commit has begun, it does not write that part."""
        writes = [Write(part, replace, size) for part, size in parts(points)]
        self._waiting.extend(writes)
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name=f"writer of {self._spec.name}")
        await asyncio.gather(*(write.done for write in writes))

    async def close(self) -> None:
        """Waits until all is written."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Commits until nothing waits. A task of its own: no caller's cancellation stops a commit."""
        while self._waiting:
            async with self._writing:
                await self._commit(self._next_batch())

    def _next_batch(self) -> list[Write]:
        """What waits, up to a commit's size and of one kind; without the writes that were cancelled."""
        batch: list[Write] = []
        rows = bytes = 0
        while self._waiting:
            write = self._waiting[0]
            rows += len(write.points)
            bytes += write.bytes
            full = (
                rows > ROWS_PER_COMMIT or bytes > BYTES_PER_COMMIT or write.replace != batch[0].replace
                if batch
                else False
            )
            if full:
                break
            self._waiting.popleft()
            if not write.done.cancelled():
                batch.append(write)
        return batch

    async def _commit(self, batch: Sequence[Write]) -> None:
        """Writes a batch and tells its callers.

        Of two points with one id the later one stays; the earlier one where none is to be replaced.
        """
        chosen: dict[str, Point] = {}
        for write in batch:
            for point in write.points:
                if write.replace or point.id not in chosen:
                    chosen[point.id] = point
        try:
            if chosen:
                self._sync.check()
                rows = await asyncio.to_thread(lance_rows.to_arrow, self._spec, list(chosen.values()))
                await merge(self._table, "id", rows, replace=batch[0].replace)
                self._committed()
                await self._sync.sync()
        except Exception as error:
            for write in batch:
                if not write.done.done():
                    write.done.set_exception(storage_failed(error))
                    # A caller that is cancelled at this moment does not come for it.
                    write.done.exception()
        for write in batch:
            if not write.done.done():
                write.done.set_result(None)


def parts(points: Sequence[Point]) -> Iterator[tuple[Sequence[Point], int]]:
    """Points in portions that fit into a commit, and the bytes of each."""
    start = bytes = 0
    for i, point in enumerate(points):
        size = lance_rows.size(point)
        if i > start and (i - start == ROWS_PER_COMMIT or bytes + size > BYTES_PER_COMMIT):
            yield points[start:i], bytes
            start, bytes = i, 0
        bytes += size
    if points:
        yield points[start:], bytes
