"""Answers a stream in order, a bounded number of requests ahead."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Request = TypeVar("Request")
Response = TypeVar("Response")


async def in_order(
    requests: AsyncIterator[Request], answer: Callable[[Request], Awaitable[Response]], *, window: int
) -> AsyncIterator[Response]:
    """Answers `requests` in their order, at most `window` of them under way.

    While the window is full no further request is read, so that a fast caller waits (HTTP/2 flow control)
    and memory stays bounded. Closing the iterator cancels what is under way.
    """
    under_way: deque[asyncio.Future[Response]] = deque()
    reading: asyncio.Future[Request] | None = None
    source = requests.__aiter__()
    more = True
    try:
        while more or under_way:
            if more and reading is None and len(under_way) < window:
                reading = asyncio.ensure_future(source.__anext__())
            waiting = [future for future in (reading, under_way[0] if under_way else None) if future]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if reading is not None and reading.done():
                try:
                    under_way.append(asyncio.ensure_future(answer(reading.result())))
                except StopAsyncIteration:
                    more = False
                reading = None
            while under_way and under_way[0].done():
                yield under_way.popleft().result()
    finally:
        for answering in under_way:
            answering.cancel()
        if reading is not None:
            reading.cancel()


class Turns(Generic[Key]):
    """Lets those that share a key follow one another, in the order they came, and others go side by side."""

    def __init__(self) -> None:
        self._held: list[tuple[frozenset[Key], asyncio.Event]] = []

    @contextlib.asynccontextmanager
    async def after_others(self, keys: Iterable[Key]) -> AsyncIterator[None]:
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
