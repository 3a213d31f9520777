"""When a caller's time is over."""

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
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; zero or less once it has passed."""
        return self.at - time.monotonic()

    def check(self, stage: str) -> None:
        """Raises DeadlineExceeded, naming the stage that was not begun, once the deadline has passed."""
        if self.remaining() <= 0:
            raise DeadlineExceeded(f"the deadline passed before {stage}", metadata={"stage": stage})


def deadline_exceeded(stage: str) -> DeadlineExceeded:
    """The error of a call whose deadline has come while it was in that stage."""
    return DeadlineExceeded(f"the deadline passed during {stage}", metadata={"stage": stage})
