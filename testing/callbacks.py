"""How much processor time each callback of an event loop takes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import clipserve_gateway  # noqa: F401  (so that what it loads is not measured)


class Callback(NamedTuple):
    """One callback: when it ended, on the monotonic clock; its processor time; and what it was."""

    at: float
    seconds: float
    what: str


@contextlib.contextmanager
def watching(record: Callable[[Callback], None], least: float) -> Iterator[None]:
    """While inside, records the callbacks of this process's loops that take `least` seconds or more.

    Time of the loop's own thread: what other threads and processes do in the meantime does not count.
    """
    run = asyncio.events.Handle._run

    def timed(handle: Any) -> None:
        begin = time.thread_time()
        run(handle)
        spent = time.thread_time() - begin
        if spent >= least:
            record(Callback(time.monotonic(), spent, name_of(handle)))

    asyncio.events.Handle._run = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        asyncio.events.Handle._run = run  # type: ignore[method-assign]


def name_of(handle: Any) -> str:
    """The coroutine that a callback goes on with, or the function that it is. Its arguments may be huge."""
    task = getattr(handle._callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        return getattr(task.get_coro(), "__qualname__", "a coroutine")
    return getattr(handle._callback, "__qualname__", type(handle._callback).__name__)
