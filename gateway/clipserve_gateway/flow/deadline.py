"""Deadlines of calls."""

from __future__ import annotations

import time
from dataclasses import dataclass

from clipserve_gateway.errors import DeadlineExceeded


@dataclass(frozen=True, order=True)
class Deadline:
    """A moment on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Returns the deadline in `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Returns the seconds left; zero or less after the deadline."""
        return self.at - time.monotonic()

    def check(self, stage: str) -> None:
        """Raises DeadlineExceeded with the stage that is not begun, if the deadline has passed."""
        if self.remaining() <= 0:
            raise deadline_exceeded(stage, "passed before")


def deadline_exceeded(stage: str, when: str = "passed during") -> DeadlineExceeded:
    """Returns the error of a call whose deadline passed during a stage, or `when` it passed."""
    return DeadlineExceeded(f"the deadline {when} {stage}", metadata={"stage": stage})
