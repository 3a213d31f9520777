"""When to retry a call: the policy, the budget shared by a client's calls, and the attempts of one call.

Without clock, sleep and I/O: callers pass the time and do the waiting.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from clipserve.errors import RateLimited
from clipserve.wire.status import Failure


@dataclass(frozen=True)
class RetryPolicy:
    """When and how often to retry.

    Retried are calls that reached no server (UNAVAILABLE), calls that an overloaded server asked to repeat
    later (RESOURCE_EXHAUSTED with a delay), and calls that lost against another writer (ABORTED). The delay
    is the server's, if it sends one; else it doubles from `initial_backoff`. No attempt starts after the
    call's timeout. Attempts that the token's rate limit refuses do not count.
    """

    attempts: int = 4
    """Maximum number of attempts, including the first one; 1 disables retries."""
    initial_backoff: float = 0.2
    """Maximum seconds before the second attempt."""
    max_backoff: float = 5.0
    """Maximum seconds between attempts, unless the server asks for more."""
    budget: float = 10.0
    """Size of the budget for failures of all calls. No retries are made when half of it is used."""
    budget_refill: float = 0.1
    """What each successful call returns to the budget."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; it must be at least 1")


NO_RETRIES = RetryPolicy(attempts=1)


class RetryBudget:
    """A token bucket shared by a client's calls, so that retries do not multiply the load of an outage.

    It starts full. Each failure takes one token, and each success returns a fraction. Retries are made only
    while more than half of the tokens are left.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._capacity = policy.budget
        self._refill = policy.budget_refill
        self._tokens = policy.budget
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Records a successful call."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + self._refill)

    def failed(self) -> bool:
        """Records a retryable failure. Returns whether the budget allows a retry."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens > self._capacity / 2


@dataclass(eq=False)
class CallAttempts:
    """The attempts of one call."""

    policy: RetryPolicy
    budget: RetryBudget
    _: KW_ONLY
    deadline: float
    """End of the whole call, on the caller's clock."""
    idempotent: bool = True
    uniform: Callable[[float, float], float] = random.uniform
    made: int = 0
    """Number of failed attempts that count."""

    def next_delay(self, failure: Failure, now: float) -> float | None:
        """Seconds to wait before the next attempt; None if the failure is final."""
        limited = isinstance(failure.error, RateLimited) and self.policy.attempts > 1
        self.made += not limited
        if not self._may_help(failure):
            return None
        if not limited and (not self.budget.failed() or self.made >= self.policy.attempts):
            return None
        delay = self._delay(failure.error.retry_after)
        return delay if now + delay < self.deadline else None

    def _may_help(self, failure: Failure) -> bool:
        if not failure.may_retry:
            return False
        if failure.error.code == "UNAVAILABLE":
            # A call that is not idempotent is retried only if the server certainly did not execute it.
            return self.idempotent or failure.answered
        if failure.error.code == "ABORTED":
            return failure.answered
        return failure.error.code == "RESOURCE_EXHAUSTED" and failure.error.retry_after is not None

    def _delay(self, asked: float | None) -> float:
        if asked is not None:
            # Slightly later than asked, so that many clients do not return at the same moment.
            return asked * self.uniform(1.0, 1.2)
        doubled = self.policy.initial_backoff * 2 ** min(self.made - 1, 30)
        return min(self.policy.max_backoff, doubled) * self.uniform(0.5, 1.0)
