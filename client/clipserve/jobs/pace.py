"""The number of items per request of a long job: small requests report progress often and stop soon."""

from __future__ import annotations

import threading

REQUEST_SECONDS = 0.5
"""Target duration of a request."""
OVERHEAD = 2.0
"""A request may take this multiple of the fastest request's time, so that the fixed cost per request is
shared by enough items."""


class Pace:
    """Computes the number of items of the next request from the last durations, starting with 1. Thread-safe.

    The number at most doubles or halves from one request to the next.
    """

    def __init__(self, max_items: int) -> None:
        self.items = 1
        """Number of items of the next request."""
        self._max_items = max_items
        self._fastest = float("inf")
        self._lock = threading.Lock()

    def record(self, items: int, seconds: float) -> None:
        """Records the duration of a request with so many items."""
        with self._lock:
            self._fastest = min(self._fastest, seconds)
            target_seconds = max(REQUEST_SECONDS, OVERHEAD * self._fastest)
            target = int(items * target_seconds / max(seconds, 1e-6))
            self.items = max(1, min(self._max_items, max(items // 2, min(target, 2 * items))))
