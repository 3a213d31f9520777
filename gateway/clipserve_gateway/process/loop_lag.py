"""How late the event loop is, and how full: what holds it up holds up every call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 0.25
AT_ONCE_SECONDS = 0.0002
"""A wait that is shorter found something to do at once."""
MEMORY_SECONDS = 5.0
"""Averaging window of the saturation."""


class LoopWatch:
    """Watches one event loop: the lag of a timer, and the share of time in which the loop has work.

    Args:
        observe: is told the lag, in seconds, every LOOK_SECONDS.
    """

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._busy = 0.0
        self._due = math.inf

    async def watch(self) -> None:
        """Watches the running loop, for ever."""
        waits = LoopWaits.of(asyncio.get_running_loop())
        while True:
            begin, idle = time.monotonic(), waits.idle
            self._due = begin + LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            self._observe(max(0.0, now - self._due))
            busy = max(0.0, 1.0 - (waits.idle - idle) / (now - begin))
            self._busy += (busy - self._busy) * weight(now - begin)

    def saturation(self) -> float:
        """Share of time in which the loop has work, 0–1, over the last seconds. Any thread may ask."""
        # A loop that is stuck does not come to measure itself.
        late = max(0.0, time.monotonic() - self._due)
        return self._busy + (1.0 - self._busy) * weight(late)


class LoopWaits:
    """When an event loop waited for something to do.

    Attributes:
        idle: seconds that it has waited, in all.
    """

    def __init__(self, select: Callable[[float | None], Any]) -> None:
        """`select` waits."""
        self.idle = 0.0
        self._select = select
        self._woke = self._came = self._came_before = time.perf_counter()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> LoopWaits:
        """The one of a loop; from the first time on, that loop's waits are timed."""
        # asyncio has no public name for what its loops wait in.
        selector: Any = loop._selector  # type: ignore[attr-defined]
        found = getattr(selector.select, "__self__", None)
        if not isinstance(found, cls):
            found = cls(selector.select)
            selector.select = found.select
        return found

    def select(self, timeout: float | None = None) -> Any:
        """As the selector's own."""
        begin = time.perf_counter()
        try:
            return self._select(timeout)
        finally:
            now = time.perf_counter()
            waited = now - begin if timeout is None or timeout > 0 else 0.0
            self.idle += waited
            # What was there at once came while the loop was busy, nobody knows when; so half-way on average.
            self._came_before = self._came
            self._came = now if waited > AT_ONCE_SECONDS else (self._woke + now) / 2
            self._woke = now

    def came(self) -> float:
        """When it came to the loop what a task goes on with now, on the clock of time.perf_counter.

        The loop hears of it in one turn, and tasks that wait for it go on in the next.
        """
        return self._came_before


def weight(seconds: float) -> float:
    """Of the last so many seconds in the average."""
    return 1.0 - math.exp(-seconds / MEMORY_SECONDS)
