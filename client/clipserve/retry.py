"""When to try a call again: a policy, a budget that all calls of a client share, and one call's record.

No clock, no sleep and no network in here: callers tell the time and do the waiting.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from clipserve.errors import RateLimited
from clipserve.wire.status import Failure


@dataclass(frozen=True)
class RetryPolicy:
    """How hard to try.

    Tried again are calls that found no server (UNAVAILABLE), calls that a server without room asked to send
    later (RESOURCE_EXHAUSTED with a delay), and calls that another writer got ahead of (ABORTED). The
    server's delay is obeyed; else the wait doubles from `initial_backoff`. No attempt is made that could
    only begin after the call's timeout. Where it is the token's own rate that is used up, waiting is all
    there is to do: these attempts are not counted.
    """

    attempts: int = 4
    """At most so many in all, the first one included; 1 never retries."""
    initial_backoff: float = 0.2
    """Seconds before the second attempt, at most."""
    max_backoff: float = 5.0
    """Seconds between attempts, at most, unless the server asks for more."""
    budget: float = 10.0
    """Failures in a row, over all calls, after half of which no more retries are made."""
    budget_refill: float = 0.1
    """What one successful call gives back to the budget."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; it must be at least 1")


NO_RETRIES = RetryPolicy(attempts=1)


class RetryBudget:
    """A token bucket shared by a client's calls, so that retries cannot multiply an outage's load.

    It starts full. Each failure takes one token, each success gives a fraction back; retries are made only
    while more than half of the tokens are there.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._capacity = policy.budget
        self._refill = policy.budget_refill
        self._tokens = policy.budget
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._refill)

    def failed(self) -> bool:
        """A call failed in a way that may be tried again; True if the budget allows that."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._capacity / 2


class CallAttempts:
    """The attempts at one call.

    Attributes:
        deadline: the moment, on the caller's clock, when the whole call must be over.
        made: attempts that have failed so far.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        budget: RetryBudget,
        *,
        deadline: float,
        idempotent: bool = True,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.deadline = deadline
        self.made = 0
        self._policy = policy
        self._budget = budget
        self._idempotent = idempotent
        self._uniform = uniform

    def next_delay(self, failure: Failure, now: float) -> float | None:
        """Seconds to wait before the next attempt; None if the failure is final."""
        limited = isinstance(failure.error, RateLimited) and self._policy.attempts > 1
        self.made += not limited
        if not self._may_help(failure):
            return None
        if not limited and (not self._budget.failed() or self.made >= self._policy.attempts):
            return None
        delay = self._delay(failure.error.retry_after)
        return delay if now + delay < self.deadline else None

    def _may_help(self, failure: Failure) -> bool:
        if not failure.may_retry:
            return False
        if failure.error.code == "UNAVAILABLE":
            # A call that must not be done twice is tried again only if the server surely did not do it.
            return self._idempotent or failure.answered
        if failure.error.code == "ABORTED":
            return failure.answered
        return failure.error.code == "RESOURCE_EXHAUSTED" and failure.error.retry_after is not None

    def _delay(self, asked: float | None) -> float:
        if asked is not None:
            # A little later than asked, so that many clients do not come back in one moment.
            return asked * self._uniform(1.0, 1.2)
        doubled = self._policy.initial_backoff * 2 ** min(self.made - 1, 30)
        return min(self._policy.max_backoff, doubled) * self._uniform(0.5, 1.0)
