"""How many items a second a caller may have."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A token's rate: items a second on average, and how many at once after a pause. Both above 0."""

    per_second: float
    burst: float


class Bucket:
    """What a caller has left. It fills at the rate, up to the burst.

    A call that costs more than the burst is let in when the bucket is full, and leaves a debt: large batches
    are possible, and the average holds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._level = rate.burst
        self._filled = clock()

    def take(self, items: int) -> float:
        """Takes the items, and returns 0; or takes nothing, and returns the seconds until it would."""
        wait = self._wait(items)
        if wait == 0.0:
            self._level -= items
        return wait

    def reserve(self, items: int) -> float:
        """Takes the items in any case; seconds to let pass before they are used."""
        wait = self._wait(items)
        self._level -= items
        return wait

    def _wait(self, items: int) -> float:
        """Seconds until so many items may be had; 0 if it is now."""
        now = self._clock()
        gained = (now - self._filled) * self.rate.per_second
        self._level, self._filled = min(self.rate.burst, self._level + gained), now
        missing = min(items, self.rate.burst) - self._level
        return max(0.0, missing / self.rate.per_second)
