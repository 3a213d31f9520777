"""Answers a stream in order, a bounded number of requests ahead."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

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
        while under_way:
            under_way.pop().cancel()
        if reading is not None:
            reading.cancel()
        # An error's traceback holds this frame, and the future the error, with all that was read.
        del reading, waiting
