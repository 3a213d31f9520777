"""Two lanes of work, interactive and bulk, and a queue in which no lane and no caller starves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import time
from collections.abc import AsyncIterator, Hashable, Iterator
from typing import NamedTuple

from clipserve_gateway.errors import DeadlineExceeded, Overloaded
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.flow.moving_rate import MovingRate
from clipserve_gateway.flow.presence import Presence
from clipserve_gateway.flow.round_robin import RoundRobin

MIN_TIME_FRACTION = 0.5
"""Work with less than this fraction of the usual time left is not begun."""
WAIT_SAFETY_FACTOR = 1.25
"""Expected waits are multiplied by this, since they are estimates."""


class Lane(enum.Enum):
    """The priority of a call: for people who wait, or for long jobs."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    # Faster than the hash of Enum, which is a call in Python. Members are singletons, so it is equivalent.
    __hash__ = object.__hash__


_lane: contextvars.ContextVar[Lane] = contextvars.ContextVar("lane", default=Lane.INTERACTIVE)
_caller: contextvars.ContextVar[Hashable] = contextvars.ContextVar("caller", default=None)


def current_lane() -> Lane:
    """Returns the lane of the current call."""
    return _lane.get()


@contextlib.contextmanager
def in_lane(lane: Lane) -> Iterator[None]:
    """Work inside the block belongs to this lane and to one caller."""
    before = _lane.get(), _caller.get()
    _lane.set(lane)
    _caller.set(object())
    try:
        yield
    finally:
        # Without a token, since a dropped stream is closed in another context than it was begun in.
        _lane.set(before[0])
        _caller.set(before[1])


class Visit(NamedTuple):
    """One piece of work that was let in.

    Attributes:
        began: time at which it was let in, on the monotonic clock.
        inside: units inside at that time, including its own.
    """

    began: float
    inside: int
    lane: Lane


class BulkRoom(NamedTuple):
    """Limits of bulk work inside the queue. While interactive work waits, the lanes' shares apply instead."""

    rows: int
    """Best number of units of one visit; a larger visit is let in alone."""
    units: int
    visits: int


class _Waiter:
    """Work that waits."""

    def __init__(self, units: int, cost: int) -> None:
        self.units = units
        self.cost = cost
        self.admitted: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()

    def expire(self, stage: str) -> None:
        """Raises DeadlineExceeded in the waiting task."""
        if not self.admitted.done():
            self.admitted.set_exception(deadline_exceeded(stage, "passed before"))


class FairQueue:
    """Lets in a limited amount of work at a time, and shares the room among waiting work.

    Each lane gets its share. Within a lane, the callers (see in_lane) get equal shares by the cost of their
    work.

    The queue measures throughput by Little's law while work waits, counting successful work only. So it can
    tell in advance that work would finish after its deadline. Belongs to one event loop.

    Args:
        room: units of work (images, rows) that may be inside at a time.
        bulk_share: share of bulk work while both lanes wait, 0–1.
        stage: name of the work in errors.
        presence: counts interactive work.

    Attributes:
        bulk_room: limits of bulk work; None for no limits.
    """

    def __init__(
        self, room: int, bulk_share: float, stage: str = "encode", presence: Presence | None = None
    ) -> None:
        self.room = room
        self.bulk_room: BulkRoom | None = None
        self._stage = stage
        self._presence = presence or Presence()
        self.inside = 0
        self._bulk_units = 0
        self._bulk_visits = 0
        self._weights = {Lane.INTERACTIVE: 1.0 - bulk_share, Lane.BULK: bulk_share}
        self._queues: dict[Lane, RoundRobin[_Waiter]] = {lane: RoundRobin() for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        # Stride scheduling (Waldspurger and Weihl, 1995): the lane with the lower pass goes next.
        self._passes = dict.fromkeys(Lane, 0.0)
        self._unit_seconds = MovingRate()
        """Seconds per unit while work waits."""
        self._visit_seconds = MovingRate()
        """Seconds per visit."""

    @property
    def waiting(self) -> int:
        """Units that wait in both lanes."""
        return sum(self._waiting.values())

    def expected_seconds(self, lane: Lane, units: int = 1) -> float:
        """Returns the expected seconds until new work is done; 0 without a measurement."""
        visit = self._visit_seconds.value or 0.0
        ahead = self._ahead(lane, units) + units
        if self.inside + self.waiting + units <= self.room or self._unit_seconds.value is None:
            return visit
        others_wait = any(self._waiting[other] for other in Lane if other is not lane)
        share = self._weights[lane] if others_wait else 1.0
        return self._unit_seconds.value * ahead / share + visit

    def _ahead(self, lane: Lane, units: int) -> float:
        """Units let in before the caller's next ones; other callers count at most as much as this one."""
        queue, waiting, caller = self._queues[lane], self._waiting[lane], _caller.get()
        if caller is None or not len(queue):
            return waiting
        own = sum(waiter.units for waiter in queue.of(caller))
        others = queue.callers - bool(own)
        return own + min(waiting - own, others * max(own + units, waiting / len(queue)))

    def check(self, lane: Lane, units: int, deadline: Deadline) -> None:
        """Raises Overloaded if new work would finish after its deadline."""
        expected = WAIT_SAFETY_FACTOR * self.expected_seconds(lane, units)
        late = expected - deadline.remaining()
        if late > 0 and self.waiting:
            raise Overloaded(
                f"because of waiting work this call would take about {expected:.1f} s, longer than its "
                "deadline allows; try again later or with a longer deadline",
                metadata={"limit": "deadline"},
                retry_after=min(30.0, max(0.1, late)),
            )

    @contextlib.asynccontextmanager
    async def slot(self, units: int, deadline: Deadline) -> AsyncIterator[None]:
        """Waits for room and holds it during the block. Work larger than the room is let in alone.

        Raises Overloaded at once if the work would finish too late, and DeadlineExceeded if that turns out
        after the wait.
        """
        self.check(current_lane(), units, deadline)
        with self._presence.counted(current_lane() is Lane.INTERACTIVE):
            visit, done = await self.enter(units, deadline=deadline), False
            try:
                if deadline.remaining() < MIN_TIME_FRACTION * (self._visit_seconds.value or 0.0):
                    raise deadline_exceeded(self._stage, "would pass during")
                yield
                done = True
            finally:
                self.leave(visit, units, done=done)

    async def enter(
        self, units: int = 1, *, cost: int | None = None, deadline: Deadline | None = None
    ) -> Visit:
        """Waits for room; `leave` must follow. Raises DeadlineExceeded if the deadline passes before.

        Args:
            units: room that the work takes.
            cost: part of the lane's and the caller's shares that it takes; `units` by default.
        """
        lane, caller = current_lane(), _caller.get()
        cost = units if cost is None else cost
        # Bulk work that waits for bulk room does not block other work.
        if self._fits(lane, units) and not any(map(self._has_turn, Lane)):
            return self._let_in(lane, units)
        others = [self._passes[other] for other in Lane if len(self._queues[other])]
        if not len(self._queues[lane]) and others:
            # A lane that was idle does not catch up.
            self._passes[lane] = max(self._passes[lane], min(others))
        waiter = _Waiter(units, cost)
        self._queues[lane].append(caller, waiter)
        self._waiting[lane] += units
        expiry = None
        if deadline is not None:
            seconds = max(0.0, deadline.remaining())
            expiry = asyncio.get_running_loop().call_later(seconds, waiter.expire, self._stage)
        try:
            return await waiter.admitted
        except asyncio.CancelledError:
            if not waiter.admitted.cancelled() and not waiter.admitted.exception():
                self.leave(waiter.admitted.result(), units, done=False)
            else:
                self._give_up(lane, caller, waiter)
            raise
        except DeadlineExceeded:
            self._give_up(lane, caller, waiter)
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    def _give_up(self, lane: Lane, caller: Hashable, waiter: _Waiter) -> None:
        if self._queues[lane].remove(caller, waiter):
            self._waiting[lane] -= waiter.units
            self._admit()

    def leave(self, visit: Visit, units: int = 1, *, done: bool) -> None:
        """Ends a visit, which makes room for others. `done` tells whether its work succeeded."""
        if done:
            self._measure(units, visit)
        self._count(visit.lane, -units, -1)
        self._admit()

    def _fits(self, lane: Lane, units: int) -> bool:
        return self._may(lane, units) and (self.inside == 0 or self.inside + units <= self.room)

    def _may(self, lane: Lane, units: int) -> bool:
        """Whether the limits of bulk work allow it."""
        room = self.bulk_room
        if lane is not Lane.BULK or room is None or not self._bulk_visits or self._waiting[Lane.INTERACTIVE]:
            return True
        return self._bulk_visits < room.visits and self._bulk_units + units <= room.units

    def _count(self, lane: Lane, units: int, visits: int) -> None:
        self.inside += units
        if lane is Lane.BULK:
            self._bulk_units += units
            self._bulk_visits += visits

    def _admit(self) -> None:
        while queues := [lane for lane in Lane if self._has_turn(lane)]:
            lane = min(queues, key=lambda queued: self._passes[queued])
            waiter = self._queues[lane].next()
            gone = waiter.admitted.done()
            if not gone and not self._fits(lane, waiter.units):
                return
            self._queues[lane].take(0 if gone else waiter.cost)
            self._waiting[lane] -= waiter.units
            if gone:
                continue
            self._passes[lane] += waiter.cost / self._weights[lane]
            waiter.admitted.set_result(self._let_in(lane, waiter.units))

    def _has_turn(self, lane: Lane) -> bool:
        """Whether work of that lane waits, and the limits of bulk work allow it."""
        if not len(self._queues[lane]):
            return False
        waiter = self._queues[lane].next()
        return waiter.admitted.done() or self._may(lane, waiter.units)

    def _let_in(self, lane: Lane, units: int) -> Visit:
        self._count(lane, units, 1)
        return Visit(time.monotonic(), self.inside, lane)

    def _measure(self, units: int, visit: Visit) -> None:
        seconds = time.monotonic() - visit.began
        self._visit_seconds.add(seconds, 1)
        if self.waiting:
            self._unit_seconds.add(seconds / visit.inside * units, units)
