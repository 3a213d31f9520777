"""Limits the work under way by items and bytes, with a reserved part for each lane."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.errors import DeadlineExceeded, InvalidInput, Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, current_lane
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import EncodedImage, RawImage

RETRY_SECONDS = 0.5
"""Retry delay of a refused call; clients add jitter."""
BULK_FRACTION = 0.5
"""Bulk calls may use idle room while less than this fraction of all room is in use."""


@dataclass(frozen=True)
class Cost:
    """Items and bytes that a call holds while it is under way."""

    items: int = 1
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.items + other.items, self.bytes + other.bytes)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.items - other.items, self.bytes - other.bytes)

    def over(self, room: Cost) -> str:
        """Returns which part exceeds the room: "items", "bytes" or ""."""
        return "items" if self.items > room.items else "bytes" if self.bytes > room.bytes else ""

    def part(self, share: float) -> Cost:
        """Returns a fraction of the cost."""
        return Cost(int(self.items * share), int(self.bytes * share))


def cost_of(items: Iterable[object]) -> Cost:
    """Returns the cost of a call's inputs; an invalid input counts as one item."""
    sizes = [input_bytes(item) for item in items]
    return Cost(len(sizes), sum(sizes))


def input_bytes(item: object) -> int:
    """Returns the bytes of an input."""
    if isinstance(item, EncodedImage):
        return len(item.content)
    if isinstance(item, RawImage):
        return len(item.rgb)
    if isinstance(item, str):
        return len(item)
    return item.nbytes if isinstance(item, np.ndarray) else 0


class Admission:
    """Admits calls while there is room.

    Interactive calls may hold all room except `bulk_share` of it, which is reserved for bulk calls. Bulk
    calls may hold more than their share while half of the room is free. A call that is larger than its
    lane's part is admitted when it is alone in its lane. Belongs to one event loop.

    Args:
        room: the limit for all calls under way.
        bulk_share: fraction of the room that is reserved for bulk calls, 0–1.
    """

    def __init__(self, room: Cost, bulk_share: float, metrics: Metrics) -> None:
        self._room = room
        self._part = {Lane.INTERACTIVE: room.part(1 - bulk_share), Lane.BULK: room.part(bulk_share)}
        self._inside = dict.fromkeys(Lane, Cost(0, 0))
        self._queues: dict[Lane, deque[tuple[asyncio.Future[None], Cost]]] = {lane: deque() for lane in Lane}
        self._metrics = metrics
        self._gauges = {lane: metrics.inflight_items.labels(lane.value) for lane in Lane}

    @contextlib.contextmanager
    def admitted(self, cost: Cost) -> Iterator[None]:
        """Counts a call during the block. Raises Overloaded at once if there is no room."""
        lane = current_lane()
        if lacking := self._lacking(lane, cost):
            self._metrics.rejected.labels(lacking).inc()
            raise Overloaded(
                f"the server has no room for {cost.items} items of {cost.bytes} bytes now; try again later",
                metadata={"limit": lacking},
                retry_after=RETRY_SECONDS,
            )
        self._enter(lane, cost)
        try:
            yield
        finally:
            self._leave(lane, cost)

    @contextlib.asynccontextmanager
    async def after_waiting(self, cost: Cost, deadline: Deadline) -> AsyncIterator[None]:
        """Like `admitted`, but waits for room. For streams, whose callers then wait too.

        Raises DeadlineExceeded.
        """
        lane = current_lane()
        if self._queues[lane] or self._lacking(lane, cost):
            await self._wait_for_room(lane, cost, deadline)
        else:
            self._enter(lane, cost)
        try:
            yield
        finally:
            self._leave(lane, cost)

    async def _wait_for_room(self, lane: Lane, cost: Cost, deadline: Deadline) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (waiter, cost)
        self._queues[lane].append(entry)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=max(0.0, deadline.remaining()))
        except asyncio.CancelledError:
            if waiter.done():
                self._leave(lane, cost)
            else:
                self._give_up(lane, entry)
            raise
        if not done:
            self._give_up(lane, entry)
            raise DeadlineExceeded(
                "the deadline passed before the server had room", metadata={"stage": "admission"}
            )

    def _give_up(self, lane: Lane, entry: tuple[asyncio.Future[None], Cost]) -> None:
        self._queues[lane].remove(entry)
        self._wake()

    def _lacking(self, lane: Lane, cost: Cost) -> str:
        """Returns what the call lacks: "items", "bytes" or ""."""
        own, total = self._inside[lane], sum(self._inside.values(), cost)
        if lane is Lane.BULK and not total.over(self._room.part(BULK_FRACTION)):
            return ""
        if own.items == 0:
            return ""
        # Interactive calls never take the part that is reserved for bulk, so bulk can ignore the total.
        return (own + cost).over(self._part[lane]) or (lane is not Lane.BULK and total.over(self._room)) or ""

    def _enter(self, lane: Lane, cost: Cost) -> None:
        self._inside[lane] += cost
        self._gauges[lane].set(self._inside[lane].items)

    def _leave(self, lane: Lane, cost: Cost) -> None:
        self._inside[lane] -= cost
        self._gauges[lane].set(self._inside[lane].items)
        self._wake()

    def _wake(self) -> None:
        for lane, queue in self._queues.items():
            while queue and not self._lacking(lane, queue[0][1]):
                waiter, cost = queue.popleft()
                self._enter(lane, cost)
                waiter.set_result(None)

    def saturation(self) -> float:
        """Returns the fraction of the room in use, 0–1."""
        inside = sum(self._inside.values(), Cost(0, 0))
        return min(1.0, max(inside.items / self._room.items, inside.bytes / self._room.bytes))


def lane_of(value: str) -> Lane:
    """Parses a priority; empty means interactive. Raises InvalidInput for other values."""
    try:
        return Lane(value.lower()) if value else Lane.INTERACTIVE
    except ValueError:
        words = " or ".join(lane.value for lane in Lane)
        raise InvalidInput(f"the priority must be {words}", field="x-clipserve-priority") from None
