"""Measures whether bytes move fast enough."""

from __future__ import annotations


class Pace:
    """Compares a count of bytes with a least rate, over windows of time."""

    def __init__(self, least_rate: int, seconds: float, now: float) -> None:
        """`least_rate` in bytes per second; `seconds` is the length of a window."""
        self._least_rate = least_rate
        self._seconds = seconds
        self._since = now
        self._count: int | None = None
        """Bytes at the beginning of the window; None while nothing is measured."""

    def too_slow(self, now: float, count: int, *, rest: bool) -> bool:
        """Whether less than the least rate came in the window that ends now. `rest`: measure nothing now."""
        if rest:
            self._count = None
            return False
        if self._count is None:
            self._since, self._count = now, count
            return False
        seconds = now - self._since
        if seconds < self._seconds:
            return False
        slow = count - self._count < self._least_rate * seconds
        self._since, self._count = now, count
        return slow
