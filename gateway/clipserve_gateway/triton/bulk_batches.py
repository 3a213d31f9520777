"""Limits the bulk work that a slow tower gets at a time, so that interactive calls do not wait long."""

from __future__ import annotations

from collections.abc import Sequence

from clipserve_gateway.flow.lanes import BulkRoom
from clipserve_gateway.triton.parameters import TowerConfig


def bulk_room(towers: Sequence[TowerConfig], max_rows: int, *, interactive: bool) -> BulkRoom | None:
    """Returns the room of bulk work at the replicas of a tower; None if it needs no limit.

    Without interactive work, bulk work gets one batch for each instance, so that none of it waits in Triton's
    queue ahead of an interactive call. With interactive work, each replica keeps one instance free of bulk
    work; a replica with a single instance gets one small call of bulk work at a time.

    Args:
        towers: the tower's configuration at each replica.
        max_rows: largest number of rows in one call.
        interactive: whether there is interactive work, or was a moment ago.
    """
    sizes = [tower.bulk_batch for tower in towers]
    if not sizes or not all(sizes):
        return None
    if not interactive:
        instances = sum(tower.instances for tower in towers)
        return BulkRoom(rows=max_rows, units=instances * max_rows, visits=instances * max_rows)
    calls, rows = sum(max(1, tower.instances - 1) for tower in towers), min(max_rows, *sizes)
    return BulkRoom(rows=rows, units=calls * rows, visits=calls)
