"""How much work is taken on at a time: by items and by bytes, with a part kept free for each lane."""

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
"""When a refused call may come again; clients add some chance of their own."""
BORROWED = 0.5
"""Of all room, the part up to which bulk may use what nobody else needs."""


@dataclass(frozen=True)
class Cost:
    """What a call holds while it is under way."""

    items: int = 1
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.items + other.items, self.bytes + other.bytes)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.items - other.items, self.bytes - other.bytes)

    def over(self, room: Cost) -> str:
        """What of it is larger than the room: "items", "bytes" or nothing."""
        return "items" if self.items > room.items else "bytes" if self.bytes > room.bytes else ""

    def part(self, share: float) -> Cost:
        """A share of it."""
        return Cost(int(self.items * share), int(self.bytes * share))


def cost_of(items: Iterable[object]) -> Cost:
    """The cost of a call's inputs: images, texts and embeddings; a refused input counts as an item."""
    sizes = [input_bytes(item) for item in items]
    return Cost(len(sizes), sum(sizes))


def input_bytes(item: object) -> int:
    """Bytes that an input takes."""
    if isinstance(item, EncodedImage):
        return len(item.content)
    if isinstance(item, RawImage):
        return len(item.rgb)
    if isinstance(item, str):
        return len(item)
    return item.nbytes if isinstance(item, np.ndarray) else 0


class Admission:
    """Belongs to one event loop.

    Interactive calls may hold all room but `bulk_share` of it, which is always left for bulk. Bulk may hold
    more than its share as long as half of the room is free. A call that is larger than its lane's part is
    let in when it is alone in its lane.

    Args:
        room: what may be under way in all.
        bulk_share: the part of it that is always left for bulk, 0–1.
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
        """Counts a call in while inside; raises Overloaded at once where there is no room."""
        lane = current_lane()
        if lacking := self._lacking(lane, cost):
            self._metrics.rejected.labels(lacking).inc()
            raise Overloaded(
                f"there is no room for {cost.items} items of {cost.bytes} bytes now; try again later",
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
        """As `admitted`, but waits for room; for streams, whose callers then wait too.

        Raises DeadlineExceeded.
        """
        lane = current_lane()
        if self._queues[lane] or self._lacking(lane, cost):
            await self._turn(lane, cost, deadline)
        else:
            self._enter(lane, cost)
        try:
            yield
        finally:
            self._leave(lane, cost)

    async def _turn(self, lane: Lane, cost: Cost, deadline: Deadline) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (turn, cost)
        self._queues[lane].append(entry)
        try:
            done, _ = await asyncio.wait({turn}, timeout=max(0.0, deadline.remaining()))
        except asyncio.CancelledError:
            if turn.done():
                self._leave(lane, cost)
            else:
                self._give_up(lane, entry)
            raise
        if not done:
            self._give_up(lane, entry)
            raise DeadlineExceeded(
                "the deadline passed before there was room", metadata={"stage": "admission"}
            )

    def _give_up(self, lane: Lane, entry: tuple[asyncio.Future[None], Cost]) -> None:
        self._queues[lane].remove(entry)
        self._wake()

    def _lacking(self, lane: Lane, cost: Cost) -> str:
        """What there is too little of: "items", "bytes" or nothing."""
        own, total = self._inside[lane], sum(self._inside.values(), cost)
        if lane is Lane.BULK and not total.over(self._room.part(BORROWED)):
            return ""
        if own.items == 0:
            return ""
        # Bulk's own part is never taken by others, so it need not look at the total.
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
                turn, cost = queue.popleft()
                self._enter(lane, cost)
                turn.set_result(None)

    def saturation(self) -> float:
        """How full it is, 0–1."""
        inside = sum(self._inside.values(), Cost(0, 0))
        return min(1.0, max(inside.items / self._room.items, inside.bytes / self._room.bytes))


def lane_of(value: str) -> Lane:
    """The lane that a caller names; interactive for an empty one. InvalidInput for a word that is none."""
    try:
        return Lane(value.lower()) if value else Lane.INTERACTIVE
    except ValueError:
        words = " or ".join(lane.value for lane in Lane)
        raise InvalidInput(f"the priority is {words}", field="x-clipserve-priority") from None
