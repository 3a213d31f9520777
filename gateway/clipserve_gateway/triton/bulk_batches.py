"""How much bulk work a slow tower gets at a time, so that an interactive call need not wait for long."""

from __future__ import annotations

from collections.abc import Sequence

from clipserve_gateway.flow.lanes import BulkRoom
from clipserve_gateway.triton.model_config import TowerConfig


def bulk_room(towers: Sequence[TowerConfig], most: int, *, interactive: bool) -> BulkRoom | None:
    """The room of bulk work at these replicas of a tower; None where it needs no bound.

    Alone, bulk gets a batch for each instance, so that none waits in Triton's queue ahead of an interactive
    call. Beside interactive work it gets one call at a time of each replica but for one instance that stays
    free; where there is only one, or where all share the cores, its calls are small.

    Args:
        towers: the tower's configuration at each replica.
        most: rows of one call.
        interactive: whether there is interactive work, or was a moment ago.
    """
    sizes = [it.bulk_batch for it in towers if it.bulk_batch]
    if not sizes or len(sizes) < len(towers):
        return None
    if not interactive:
        instances = sum(it.instances for it in towers)
        return BulkRoom(rows=most, units=instances * most, visits=instances * most)
    calls, rows = sum(max(1, it.calls - 1) for it in towers), min(most, *sizes)
    return BulkRoom(rows=rows, units=calls * rows, visits=calls)
