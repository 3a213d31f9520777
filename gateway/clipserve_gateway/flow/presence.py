"""Tells whether there is interactive work."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

RECENT_SECONDS = 30.0
"""How long after the last interactive call bulk work still leaves room for the next one."""


class Presence:
    """Counts interactive work. Several queues may share one instance."""

    def __init__(self) -> None:
        self._under_way = 0
        self._ended = -math.inf

    @property
    def recent(self) -> bool:
        """Whether there is interactive work, or was within RECENT_SECONDS."""
        return self._under_way > 0 or time.monotonic() - self._ended < RECENT_SECONDS

    @contextlib.contextmanager
    def counted(self, interactive: bool) -> Iterator[None]:
        """Counts work during the block if it is interactive."""
        if not interactive:
            yield
            return
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended = time.monotonic()
