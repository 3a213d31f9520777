"""How many items a request of a long job has: few enough that it soon shows how far it is, and soon stops."""

from __future__ import annotations

import threading

REQUEST_SECONDS = 0.5
"""How long a request should take."""
OVERHEAD = 2.0
"""A request may take so many times as long as the fastest one: what every request costs is shared by its
items."""


class Pace:
    """The size of the next request, by how long the last ones took. Begins with one item. Thread-safe.

    Of two successive sizes one is at most twice the other.
    """

    def __init__(self, most: int) -> None:
        """`most`: items of a request, at most."""
        self._most = most
        self._size = 1
        self._fastest = float("inf")
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Items of the next request."""
        return self._size

    def note(self, items: int, seconds: float) -> None:
        """A request of so many items has been answered."""
        with self._lock:
            self._fastest = min(self._fastest, seconds)
            aim = max(REQUEST_SECONDS, OVERHEAD * self._fastest)
            wanted = int(items * aim / max(seconds, 1e-6))
            self._size = max(1, min(self._most, max(items // 2, min(wanted, 2 * items))))
