"""Callers that ask for the same result at the same time share one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeAlias, TypeVar

from clipserve_gateway.errors import DeadlineExceeded, Overloaded
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded

T = TypeVar("T")

LatestDeadline: TypeAlias = Callable[[], Deadline]
"""Returns the latest deadline of the callers that wait for a computation now."""


class _Batch(Generic[T]):
    """Results that are computed together, their callers, and the latest of the callers' deadlines."""

    def __init__(self, keys: Sequence[Hashable], deadline: Deadline) -> None:
        self.keys = keys
        self.deadline = deadline
        self.callers = 0
        self.task: asyncio.Task[dict[Hashable, T]]


class SharedWork(Generic[T]):
    """Computations under way, by the keys of their results.

    A computation continues when the caller that began it leaves, and is cancelled when the last one leaves.
    A caller that has time left computes again what the deadline of another caller cut off. Results are not
    kept. Belongs to one event loop.
    """

    def __init__(self, on_shared: Callable[[int], object] = lambda count: None) -> None:
        """`on_shared` gets the number of results that a caller shares with earlier callers."""
        self._on_shared = on_shared
        self._under_way: dict[Hashable, _Batch[T]] = {}

    async def run(
        self,
        keys: Sequence[Hashable],
        deadline: Deadline,
        compute: Callable[[list[int], LatestDeadline], Awaitable[list[T]]],
    ) -> list[T]:
        """Returns one result for each key, in order.

        `compute` gets the positions of the keys that nobody computes yet, and returns their results in order.
        Raises what `compute` raises, and DeadlineExceeded.
        """
        results: dict[Hashable, T] = {}
        while missing := {key: i for i, key in reversed(list(enumerate(keys))) if key not in results}:
            results |= await self._join(missing, deadline, compute)
        return [results[key] for key in keys]

    async def run_one(
        self, key: Hashable, deadline: Deadline, compute: Callable[[LatestDeadline], Awaitable[T]]
    ) -> T:
        """Returns the result for one key. See run."""

        async def compute_one(_: list[int], latest: LatestDeadline) -> list[T]:
            return [await compute(latest)]

        [result] = await self.run([key], deadline, compute_one)
        return result

    async def _join(
        self,
        wanted: dict[Hashable, int],
        deadline: Deadline,
        compute: Callable[[list[int], LatestDeadline], Awaitable[list[T]]],
    ) -> dict[Hashable, T]:
        """Returns at least some results; none only if other callers' deadlines cut all of them off."""
        new = {key: i for key, i in wanted.items() if key not in self._under_way}
        own = self._begin(new, deadline, compute) if new else None
        batches = {self._under_way[key] for key in wanted}
        if len(new) < len(wanted):
            self._on_shared(len(wanted) - len(new))
        for batch in batches:
            batch.callers += 1
            batch.deadline = max(batch.deadline, deadline)
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
        results: dict[Hashable, T] = {}
        for batch in batches:
            others_deadline = batch is not own and is_late(batch.task.exception())
            if not others_deadline or deadline.remaining() <= 0:
                results |= batch.task.result()
        return results

    def _begin(
        self,
        new: dict[Hashable, int],
        deadline: Deadline,
        compute: Callable[[list[int], LatestDeadline], Awaitable[list[T]]],
    ) -> _Batch[T]:
        batch: _Batch[T] = _Batch(list(new), deadline)

        async def work() -> dict[Hashable, T]:
            try:
                computed = await compute(list(new.values()), lambda: batch.deadline)
                return dict(zip(new, computed, strict=True))
            finally:
                self._forget(batch)

        batch.task = asyncio.create_task(work())
        # Retrieves the exception so that asyncio does not warn if all callers have left.
        batch.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._under_way |= dict.fromkeys(new, batch)
        return batch

    def _forget(self, batch: _Batch[T]) -> None:
        for key in batch.keys:
            if self._under_way.get(key) is batch:
                del self._under_way[key]


def is_late(error: BaseException | None) -> bool:
    """Whether work failed because its deadline passed, or would have passed."""
    if isinstance(error, Overloaded):
        return error.metadata.get("limit") == "deadline"
    return isinstance(error, DeadlineExceeded)
