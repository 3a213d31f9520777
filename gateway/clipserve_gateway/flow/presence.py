"""Whether somebody who waits for answers is there."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

RECENT_SECONDS = 30.0
"""After the last interactive call: how long bulk still leaves room for the next one."""


class Presence:
    """Whether interactive work is under way, or was a moment ago. Several gates may share one."""

    def __init__(self) -> None:
        self._under_way = 0
        self._ended = -math.inf

    @property
    def recent(self) -> bool:
        """Whether the next interactive call is to be expected soon."""
        return self._under_way > 0 or time.monotonic() - self._ended < RECENT_SECONDS

    @contextlib.contextmanager
    def counted(self, interactive: bool) -> Iterator[None]:
        """Counts work while inside, if it is interactive."""
        if not interactive:
            yield
            return
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._ended = time.monotonic()
