"""What most rows promise of the time after a fault."""

from __future__ import annotations

import time
from collections.abc import Iterator

from faults.calls import Calls
from faults.row import Promise, at_most, only
from faults.watch import SCRAPE_SECONDS, serves, wait_until
from testing.service import Gateway

RECOVERY = 5.0
"""Seconds from the moment that all could be well to the moment that it is."""
PROOF = 1.5
"""Seconds of calls that show that it is."""


def wait_recovered(gateway: Gateway) -> None:
    """Waits until the gateway serves a model again, or should, and a little longer."""
    wait_until(lambda: serves(gateway.http), RECOVERY, SCRAPE_SECONDS)
    time.sleep(PROOF)


def recovered(calls: Calls, back: float) -> Iterator[Promise]:
    """All calls are OK soon after what they need is back, without a restart of the gateway."""
    yield at_most("all calls are OK again within", calls.last_failure_after(back), RECOVERY)
    last = float(calls.records["begin"].max())
    yield only("and stay so", calls.begun(after=last - PROOF / 2).codes, "OK")
