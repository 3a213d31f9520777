"""What most rows promise of the time after a fault."""

from __future__ import annotations

from collections.abc import Iterator

from faults.calls import Calls
from faults.row import Promise, at_most, only

RECOVERY = 5.0
"""Seconds from the moment that all could be well to the moment that it is."""


def recovered(calls: Calls, back: float) -> Iterator[Promise]:
    """All calls are OK soon after what they need is back, without a restart of the gateway."""
    yield at_most("all calls are OK again within", calls.last_failure_after(back), RECOVERY)
    yield only("and stay so", calls.begun(after=back + RECOVERY).codes, "OK")
