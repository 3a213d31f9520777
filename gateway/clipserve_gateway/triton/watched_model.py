"""One version of a model on one replica: its calls, its health, and when its canary runs next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clipserve_gateway.triton.canary import PAUSE_SECONDS, CanaryResult, Outcome, pause_after
from clipserve_gateway.triton.model_health import ModelHealth

SILENT_SECONDS = 15.0
"""A tower makes progress if it has answered a call within this time; a batch on slow cores takes seconds."""
IDLE_FRACTION = 2 / 3
"""Part of the pause between two canary runs after which the next one starts if no call is under way."""
REUSE_FACTOR = 2.0
"""Pauses for which the result of a canary run may be reused."""


@dataclass
class _Calls:
    """Calls to one tower."""

    under_way: int = 0
    answered_at: float = float("-inf")
    waiting_since: float | None = None
    """Since when callers have had no answer; None if no caller waits and the last one got its answer."""


class WatchedModel:
    """Belongs to one event loop. Towers are given by their names in Triton."""

    def __init__(self, canary_seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`canary_seconds`: pause between two canary runs; None for that of `pause_after`."""
        self.health = ModelHealth()
        self.canary: asyncio.Task[None] | None = None
        """The canary run under way, or the last one."""
        self._canary_seconds = canary_seconds
        self._clock = clock
        self._last_run = float("-inf")
        self._last_result = CanaryResult(Outcome.MISSING)
        self._calls: defaultdict[str, _Calls] = defaultdict(_Calls)

    @contextlib.contextmanager
    def calling(self, tower: str) -> Iterator[None]:
        """Counts a call; it counts as answered unless an exception is raised."""
        calls = self._calls[tower]
        calls.under_way += 1
        calls.waiting_since = calls.waiting_since or self._clock()
        try:
            yield
            calls.answered_at = self._clock()
            calls.waiting_since = calls.answered_at if calls.under_way > 1 else None
        finally:
            calls.under_way -= 1

    def record(self, result: CanaryResult) -> None:
        """Takes the result of a canary run into account."""
        now = self._clock()
        self._last_run, self._last_result = now, result
        # This gateway sees only its own calls: without any, others may keep the tower busy.
        self.health.update(result, self._progressed(result.tower, now) or None, now)
        if result.ok:
            for calls in self._calls.values():
                calls.waiting_since = calls.waiting_since if calls.under_way else None

    def unload(self, detail: str) -> None:
        """Triton has refused a call because it does not serve this version."""
        self.health.unload(detail, self._clock())

    def due(self) -> bool:
        """Whether the canary should start now.

        Unless it is running: at once while the model is out of service; otherwise after a pause, or a part of
        it if no call is under way. The pause is short if callers get no answers.
        """
        if self.canary is not None and not self.canary.done():
            return False
        if not self.health.in_service:
            return True
        pause = self._pause()
        if self._canary_seconds is None and not any(calls.under_way for calls in self._calls.values()):
            pause = max(PAUSE_SECONDS, IDLE_FRACTION * pause)
        return self._clock() - self._last_run >= pause

    def reusable_result(self) -> CanaryResult | None:
        """The result of the last canary run, if it was right and is recent."""
        if not self.health.in_service or self._last_result.outcome is not Outcome.RIGHT:
            return None
        overdue = self._clock() - self._last_run >= REUSE_FACTOR * self._pause()
        return None if overdue else self._last_result

    def _pause(self) -> float:
        """Seconds between two canary runs."""
        now = self._clock()
        waits = [calls.waiting_since for calls in self._calls.values() if calls.waiting_since is not None]
        callers_wait = now - min(waits, default=now) >= PAUSE_SECONDS
        seconds = self._last_result.seconds if self._last_result.ok and not callers_wait else 0.0
        return pause_after(seconds, self._canary_seconds)

    def _progressed(self, tower: str, now: float) -> bool:
        """Whether a tower (either one, for an empty name) with calls under way has answered one recently."""
        answered = [
            calls.answered_at
            for name, calls in self._calls.items()
            if calls.under_way and tower in ("", name)
        ]
        return now - max(answered, default=float("-inf")) < SILENT_SECONDS
