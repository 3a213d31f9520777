"""An average of seconds per unit over the last moments."""

from __future__ import annotations

import math

MEMORY_SECONDS = 3.0
"""Averaging window; longer gaps are clipped to it."""


class MovingRate:
    """Seconds per unit, as a ratio of two sums that decay exponentially."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._units = 0.0

    @property
    def value(self) -> float | None:
        """None before the first measurement."""
        return self._seconds / self._units if self._units else None

    def add(self, seconds: float, units: int) -> None:
        """Adds a measurement of `units` units that took `seconds` together."""
        seconds = min(seconds, MEMORY_SECONDS)
        fading = math.exp(-seconds / MEMORY_SECONDS)
        self._seconds = self._seconds * fading + seconds
        self._units = self._units * fading + units
