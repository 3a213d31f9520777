"""What is known of one model on one replica, and when it is to be examined again."""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from clipserve_gateway.triton.canary import FINE, PAUSE_SECONDS, Finding, Verdict, pause_after

MISSES = 2
"""Times in a row without an answer after which it is held that none will come."""
SILENT_SECONDS = 15.0
"""How long a tower that has calls under way may answer none of them; a batch on slow cores takes seconds."""
QUIET = 2 / 3
"""Of the pause between two examinations, after which one is made while no call is under way."""
OVERDUE = 2.0
"""Times the pause, until which others may rely on an examination."""


@dataclass
class _Calls:
    """Of one tower."""

    under_way: int = 0
    answered: float = 0.0
    """When it last answered one."""
    waits_since: float | None = None
    """Since when callers have got no answer; None while nobody waits, nor gave up last."""


class Standing:
    """Of one model. Times are those of the monotonic clock, towers have their names in Triton.

    Attributes:
        finding: what decides whether it is in service; None before its first examination.
    """

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self._misses = 0
        self._examined = 0.0
        self._last = Finding(Verdict.MISSING)
        """Of the last examination."""
        self._calls: defaultdict[str, _Calls] = defaultdict(_Calls)

    @property
    def serves(self) -> bool:
        """Whether callers belong there."""
        return self.finding is not None and self.finding.verdict in FINE

    @contextlib.contextmanager
    def calling(self, tower: str) -> Iterator[None]:
        """Counts a call in; it is answered unless something is raised."""
        calls = self._calls[tower]
        calls.under_way += 1
        calls.waits_since = calls.waits_since or time.monotonic()
        try:
            yield
            calls.answered = time.monotonic()
            calls.waits_since = calls.answered if calls.under_way > 1 else None
        finally:
            calls.under_way -= 1

    def due(self, examine_seconds: float | None) -> bool:
        """Whether to examine it now; see pause_after. Where callers get no answers, that is not put off."""
        if not self.serves:
            return True
        pause = self._pause(examine_seconds)
        if examine_seconds is None and not any(calls.under_way for calls in self._calls.values()):
            pause = max(PAUSE_SECONDS, QUIET * pause)
        return time.monotonic() - self._examined >= pause

    def recent(self, examine_seconds: float | None) -> Finding | None:
        """What the last examination found, if it was right and is to be relied on still."""
        if not self.serves or self._last.verdict is not Verdict.RIGHT:
            return None
        overdue = time.monotonic() - self._examined >= OVERDUE * self._pause(examine_seconds)
        return None if overdue else self._last

    def _pause(self, examine_seconds: float | None) -> float:
        """Seconds between two examinations."""
        now = time.monotonic()
        waits = [it.waits_since for it in self._calls.values() if it.waits_since is not None]
        silent = now - min(waits, default=now) >= PAUSE_SECONDS
        right = self._last.verdict in FINE and not silent
        return pause_after(self._last.seconds if right else 0.0, examine_seconds)

    def take(self, found: Finding) -> bool:
        """Takes note of an examination that has ended; whether it says anything of the model."""
        self._examined, self._last = time.monotonic(), found
        missing = found.verdict is Verdict.MISSING
        if found.verdict is Verdict.BUSY or (missing and self._works(found.tower)):
            return False
        if found.verdict in FINE:
            for calls in self._calls.values():
                calls.waits_since = calls.waits_since if calls.under_way else None
        self._misses = self._misses + 1 if missing else 0
        return not (missing and self.serves and self._misses < MISSES)

    def _works(self, tower: str) -> bool:
        """Whether a tower (either, for an empty name) answers others: behind those one may wait long."""
        answered = [it.answered for name, it in self._calls.items() if it.under_way and tower in ("", name)]
        return time.monotonic() - max(answered, default=-math.inf) < SILENT_SECONDS
