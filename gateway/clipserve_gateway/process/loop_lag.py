"""Measures lag and load of an event loop. Work that blocks the loop delays every call."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

LOOK_SECONDS = 0.25
AT_ONCE_SECONDS = 0.0002
"""After a shorter wait, work was available at once."""
MEMORY_SECONDS = 5.0
"""Averaging window of the saturation."""


class LoopWatch:
    """Measures an event loop: the lag of a timer, and the share of time in which the loop has work.

    Args:
        observe: gets the lag in seconds every LOOK_SECONDS.
    """

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._busy = 0.0
        self._due = math.inf

    async def watch(self) -> None:
        """Measures the running loop until it is cancelled."""
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
        """Share of time in which the loop has work, 0–1, over the last seconds. Any thread may call this."""
        # A blocked loop cannot measure itself.
        late = max(0.0, time.monotonic() - self._due)
        return self._busy + (1.0 - self._busy) * weight(late)


class LoopWaits:
    """Times when an event loop waited for work.

    Attributes:
        idle: sum of these times, in seconds.
    """

    def __init__(self, select: Callable[[float | None], Any]) -> None:
        """`select` is the selector's method, which waits."""
        self.idle = 0.0
        self._select = select
        self._woke = self._came = self._came_before = time.perf_counter()

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> LoopWaits:
        """The waits of a loop, which are measured from the first call on."""
        # asyncio has no public access to the selector.
        selector: Any = loop._selector  # type: ignore[attr-defined]
        waits = getattr(selector.select, "__self__", None)
        if not isinstance(waits, cls):
            waits = cls(selector.select)
            selector.select = waits.select
        return waits

    def select(self, timeout: float | None = None) -> Any:
        """Calls the selector's method and measures its time."""
        begin = time.perf_counter()
        try:
            return self._select(timeout)
        finally:
            now = time.perf_counter()
            waited = now - begin if timeout is None or timeout > 0 else 0.0
            self.idle += waited
            # Work that was available at once came while the loop was busy: half-way, on average.
            self._came_before = self._came
            self._came = now if waited > AT_ONCE_SECONDS else (self._woke + now) / 2
            self._woke = now

    def came(self) -> float:
        """When the event came that the current task waited for, by time.perf_counter.

        The loop gets the event in one iteration, and tasks that wait for it continue in the next.
        """
        return self._came_before


def weight(seconds: float) -> float:
    """The weight of the last `seconds` in the average."""
    return 1.0 - math.exp(-seconds / MEMORY_SECONDS)
