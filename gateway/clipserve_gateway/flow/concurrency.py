"""Waiting for several things at once, sharing one computation among callers, and taking turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable
from typing import Any, Generic, TypeVar, cast

from clipserve_gateway.errors import DeadlineExceeded
from clipserve_gateway.flow.deadline import Deadline

T = TypeVar("T")
U = TypeVar("U")
Key = TypeVar("Key", bound=Hashable)


async def gather(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """Results in order; when one fails or the caller is cancelled, the others are cancelled too."""
    if len(coroutines) == 1:
        return [await coroutines[0]]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        # None may stay in this frame: an error's traceback holds it, and the task holds the error.
        while tasks:
            tasks.pop().cancel()


async def gather_two(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """Two results; when one fails or the caller is cancelled, the other is cancelled too."""
    one, two = await gather(first, second)
    return cast(T, one), cast(U, two)


class _Flight(Generic[T]):
    """One computation under way, its callers, and the latest of their deadlines."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.callers = 0
        self.task: asyncio.Task[T]


class SingleFlight(Generic[T]):
    """Callers that ask for the same key at the same time share one computation.

    A caller that gives up leaves the computation to the others; when the last one has left, it is
    cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._flights

    async def run(
        self, key: Hashable, deadline: Deadline, build: Callable[[Callable[[], Deadline]], Awaitable[T]]
    ) -> T:
        """The result of `build(latest_deadline)`, begun now or by an earlier caller.

        Raises what `build` raises, or DeadlineExceeded when this caller's own deadline passes.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(deadline)
            flight.task = asyncio.ensure_future(self._fly(key, flight, build))
        flight.deadline = max(flight.deadline, deadline)
        flight.callers += 1
        try:
            return await asyncio.wait_for(asyncio.shield(flight.task), max(0.0, deadline.remaining()))
        except asyncio.TimeoutError:
            raise DeadlineExceeded("the deadline passed while label embeddings were built") from None
        finally:
            flight.callers -= 1
            if flight.callers == 0 and not flight.task.done():
                self._flights.pop(key, None)
                flight.task.cancel()

    async def _fly(
        self, key: Hashable, flight: _Flight[T], build: Callable[[Callable[[], Deadline]], Awaitable[T]]
    ) -> T:
        try:
            return await build(lambda: flight.deadline)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]


class KeyLocks(Generic[Key]):
    """Lets those that share a key follow one another, in the order they came, and others go side by side."""

    def __init__(self) -> None:
        self._held: list[tuple[frozenset[Key], asyncio.Event]] = []

    @contextlib.asynccontextmanager
    async def hold(self, keys: Iterable[Key]) -> AsyncIterator[None]:
        """Waits for all who came earlier with one of these keys, and holds the keys while inside."""
        mine = (frozenset(keys), asyncio.Event())
        earlier = [done for held, done in self._held if held & mine[0]]
        self._held.append(mine)
        try:
            for done in earlier:
                await done.wait()
            yield
        finally:
            self._held.remove(mine)
            mine[1].set()
