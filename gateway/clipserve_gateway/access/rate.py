"""The rate limit of a token: a token bucket of items."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """Items a second on average, and the most items at once after a pause. Both are above 0."""

    per_second: float
    burst: float


class Bucket:
    """The items that a caller may still use. It fills at the rate, up to the burst.

    A call that costs more than the burst is admitted when the bucket is full, and leaves a negative level:
    large batches are possible, and the average rate still holds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._level = rate.burst
        self._filled = clock()

    def take(self, items: int) -> float:
        """Takes the items and returns 0. If it has too few, takes nothing and returns the seconds to wait."""
        wait = self._wait(items)
        if wait == 0.0:
            self._level -= items
        return wait

    def reserve(self, items: int) -> float:
        """Takes the items, even if it has too few. Returns the seconds to wait before they are used."""
        wait = self._wait(items)
        self._level -= items
        return wait

    def _wait(self, items: int) -> float:
        """Seconds until that many items are available; 0 if they are now."""
        now = self._clock()
        gained = (now - self._filled) * self.rate.per_second
        self._level, self._filled = min(self.rate.burst, self._level + gained), now
        missing = min(items, self.rate.burst) - self._level
        return max(0.0, missing / self.rate.per_second)
