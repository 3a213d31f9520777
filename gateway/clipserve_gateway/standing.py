"""What is known of one model on one replica, and when it is to be examined again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from clipserve_gateway.known_answer import PAUSE_SECONDS, Finding, Verdict, pause_after

SERVES = (Verdict.RIGHT, Verdict.UNKNOWN)
"""Verdicts with which a model is in service. BUSY and MISSING-but-working change nothing."""
MISSES = 2
"""Times in a row without an answer after which it is held that none will come."""
SILENT_SECONDS = 15.0
"""How long a tower that has calls under way may answer none of them; a batch on slow cores takes seconds."""


class Standing:
    """Of one model. Times are those of the monotonic clock.

    Attributes:
        finding: what decides whether it is in service; None before its first examination.
    """

    def __init__(self) -> None:
        self.finding: Finding | None = None
        self._misses = 0
        self._examined = 0.0
        self._took = 0.0
        """Seconds of its answers in the last examination; 0 unless they were right."""
        self._answered: dict[str, float] = {}
        """When each tower, by its name in Triton, last answered a call."""
        self._calls = 0
        self._waits_since: float | None = None
        """Since when callers have got no answer; None while nobody waits, nor gave up last."""

    @property
    def serves(self) -> bool:
        """Whether callers belong there."""
        return self.finding is not None and self.finding.verdict in SERVES

    @contextlib.contextmanager
    def calling(self, tower: str) -> Iterator[None]:
        """Counts a call in; it is answered unless something is raised."""
        self._calls += 1
        self._waits_since = self._waits_since or time.monotonic()
        try:
            yield
            now = self._answered[tower] = time.monotonic()
            self._waits_since = now if self._calls > 1 else None
        finally:
            self._calls -= 1

    def due(self, examine_seconds: float | None) -> bool:
        """Whether to examine it now; see pause_after. Where callers get no answers, that is not put off."""
        if not self.serves:
            return True
        now = time.monotonic()
        silent = self._waits_since is not None and now - self._waits_since >= PAUSE_SECONDS
        return now - self._examined >= pause_after(0.0 if silent else self._took, examine_seconds)

    def take(self, found: Finding) -> bool:
        """Takes note of an examination that has ended; whether it says anything of the model."""
        self._examined = time.monotonic()
        self._took = found.seconds if found.verdict in SERVES else 0.0
        missing = found.verdict is Verdict.MISSING
        if found.verdict is Verdict.BUSY or (missing and self._works(found.tower)):
            return False
        self._misses = self._misses + 1 if missing else 0
        return not (missing and self.serves and self._misses < MISSES)

    def _works(self, tower: str) -> bool:
        """Whether a tower (either, for an empty name) answers others: behind those one may wait long."""
        times = [at for name, at in self._answered.items() if tower in ("", name)]
        return self._calls > 0 and time.monotonic() - max(times, default=0.0) < SILENT_SECONDS
