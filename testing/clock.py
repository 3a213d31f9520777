"""Time that tests move."""

from __future__ import annotations


class Clock:
    """Takes the place of `time.monotonic`."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time that the test has set, in seconds."""
        return self.now
