"""Equal inputs that are under way at the same time are computed once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from clipserve_gateway.errors import DeadlineExceeded
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.metrics import Metrics

T = TypeVar("T")


class _Batch(Generic[T]):
    """Inputs computed together, and how many callers want some of them."""

    def __init__(self, keys: Sequence[Hashable]) -> None:
        self.keys = keys
        self.callers = 0
        self.task: asyncio.Task[dict[Hashable, T]]


class Sharing(Generic[T]):
    """Computations of batches whose items others may share.

    A batch belongs to nobody: a caller that gives up leaves it to those who share in it, and when the last
    one has left, it is cancelled. It runs with the deadline of its first caller; one who shared in it and has
    more time computes again what that deadline cut off. Belongs to one event loop.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._under_way: dict[Hashable, _Batch[T]] = {}

    async def run(
        self, keys: Sequence[Hashable], deadline: Deadline, compute: Callable[[list[int]], Awaitable[list[T]]]
    ) -> list[T]:
        """One result for each key. `compute` gets the positions of keys that nobody is computing.

        Raises what `compute` raises, or DeadlineExceeded.
        """
        found: dict[Hashable, T] = {}
        while missing := {key: i for i, key in reversed(list(enumerate(keys))) if key not in found}:
            found |= await self._join(missing, deadline, compute)
        return [found[key] for key in keys]

    async def _join(
        self,
        wanted: dict[Hashable, int],
        deadline: Deadline,
        compute: Callable[[list[int]], Awaitable[list[T]]],
    ) -> dict[Hashable, T]:
        """Results of some of the keys at least; none only where others' deadlines cut all of them off."""
        new = {key: i for key, i in wanted.items() if key not in self._under_way}
        own = self._begin(new, compute) if new else None
        batches = {self._under_way[key] for key in wanted}
        self._metrics.shared_items.inc(len(wanted) - len(new))
        for batch in batches:
            batch.callers += 1
        try:
            tasks = [batch.task for batch in batches]
            _, pending = await asyncio.wait(tasks, timeout=max(0.0, deadline.remaining()))
        finally:
            for batch in batches:
                batch.callers -= 1
                if not batch.callers and not batch.task.done():
                    self._forget(batch)
                    batch.task.cancel()
        if pending:
            raise deadline_exceeded("encode")
        found: dict[Hashable, T] = {}
        for batch in batches:
            others_deadline = batch is not own and isinstance(batch.task.exception(), DeadlineExceeded)
            if not others_deadline or deadline.remaining() <= 0:
                found |= batch.task.result()
        return found

    def _begin(
        self, new: dict[Hashable, int], compute: Callable[[list[int]], Awaitable[list[T]]]
    ) -> _Batch[T]:
        batch: _Batch[T] = _Batch(list(new))
        batch.task = asyncio.create_task(self._compute(batch, new, compute))
        # A failure that nobody is left to hear of is no news to the log.
        batch.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._under_way |= dict.fromkeys(new, batch)
        return batch

    async def _compute(
        self,
        batch: _Batch[T],
        new: dict[Hashable, int],
        compute: Callable[[list[int]], Awaitable[list[T]]],
    ) -> dict[Hashable, T]:
        try:
            return dict(zip(new, await compute(list(new.values())), strict=True))
        finally:
            self._forget(batch)

    def _forget(self, batch: _Batch[T]) -> None:
        for key in batch.keys:
            if self._under_way.get(key) is batch:
                del self._under_way[key]
