"""Two lanes of work, interactive and bulk, and a gate at which neither starves, nor any caller in them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import time
from collections.abc import AsyncIterator, Hashable, Iterator
from typing import NamedTuple

from clipserve_gateway.errors import DeadlineExceeded, Overloaded
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.moving_rate import MovingRate
from clipserve_gateway.flow.presence import Presence
from clipserve_gateway.flow.round_robin import RoundRobin

MIN_TIME_FRACTION = 0.5
"""Work that has less time left than this part of what work takes is not begun."""
WAIT_SAFETY_FACTOR = 1.25
"""How much longer than expected a wait is taken to be, since it is a guess."""


class Lane(enum.Enum):
    """Who waits for the answer: a person, or a job that takes hours anyway."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    # As members are single, this is the same; Enum's own is a call in Python, forty times in each of ours.
    __hash__ = object.__hash__


_lane: contextvars.ContextVar[Lane] = contextvars.ContextVar("lane", default=Lane.INTERACTIVE)
_caller: contextvars.ContextVar[Hashable] = contextvars.ContextVar("caller", default=None)


def current_lane() -> Lane:
    """The lane of the call being served."""
    return _lane.get()


@contextlib.contextmanager
def in_lane(lane: Lane) -> Iterator[None]:
    """What runs inside is work of this lane, and of one caller."""
    before = _lane.get(), _caller.get()
    _lane.set(lane)
    _caller.set(object())
    try:
        yield
    finally:
        # Not by a token: a stream that is dropped is closed in another context than it was begun in.
        _lane.set(before[0])
        _caller.set(before[1])


class Visit(NamedTuple):
    """Work inside: when it came in, on the monotonic clock, the units inside then, its own too; its lane."""

    began: float
    inside: int
    lane: Lane


class BulkRoom(NamedTuple):
    """What of bulk may be inside at a time, until interactive work waits: then lanes get their shares."""

    rows: int
    """Units of one visit, as it is best cut; a larger one goes alone."""
    units: int
    visits: int


class _Turn:
    """Somebody who waits."""

    def __init__(self, units: int, cost: int) -> None:
        self.units = units
        self.cost = cost
        self.come: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()

    def expire(self, stage: str) -> None:
        """The deadline has come."""
        if not self.come.done():
            self.come.set_exception(
                DeadlineExceeded(f"the deadline passed before {stage}", metadata={"stage": stage})
            )


class FairQueue:
    """Lets a bounded amount of work through at a time, and shares it while several wait.

    Lanes get their shares; in a lane, the callers (see in_lane) get equal ones, by the cost of their work.

    The gate measures how fast work gets done while others wait, so it can tell before work begins that it
    would come too late: who leaves has been inside for as long as those took who were there when it came
    (Little's law). Only what succeeds counts: what fails or is given up leaves fast, and serves nobody.
    Belongs to one event loop.

    Args:
        room: units of work (images, rows) that may be inside at a time.
        bulk_share: of what passes while both lanes wait, the part that is bulk, 0–1.
        stage: what the work is, for errors.
        presence: where interactive work is counted.

    Attributes:
        bulk_room: what of it bulk gets; None for as much as there is.
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
        self._queues: dict[Lane, RoundRobin[_Turn]] = {lane: RoundRobin() for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        # Stride scheduling (Waldspurger and Weihl, 1995): the lane with the lower pass goes next.
        self._passes = dict.fromkeys(Lane, 0.0)
        self._pace = MovingRate()
        """At which work gets done while others wait."""
        self._stay = MovingRate()
        """Of one piece of work, inside."""

    @property
    def waiting(self) -> int:
        """Units that wait, of both lanes."""
        return sum(self._waiting.values())

    def expected_seconds(self, lane: Lane, units: int = 1) -> float:
        """How long work that came now would take: its wait and its stay. 0 while nothing is known."""
        stay = self._stay.value or 0.0
        ahead = self._ahead(lane, units) + units
        if self.inside + self.waiting + units <= self.room or self._pace.value is None:
            return stay
        other = any(self._waiting[it] for it in Lane if it is not lane)
        share = self._weights[lane] if other else 1.0
        return self._pace.value * ahead / share + stay

    def _ahead(self, lane: Lane, units: int) -> float:
        """Units that pass before a caller's next ones: of each other caller, no more than of itself."""
        queue, waiting, caller = self._queues[lane], self._waiting[lane], _caller.get()
        if caller is None or not len(queue):
            return waiting
        own = sum(turn.units for turn in queue.of(caller))
        others = queue.callers - bool(own)
        return own + min(waiting - own, others * max(own + units, waiting / len(queue)))

    def check(self, lane: Lane, units: int, deadline: Deadline) -> None:
        """Raises Overloaded for work that would come too late."""
        expected = WAIT_SAFETY_FACTOR * self.expected_seconds(lane, units)
        late = expected - deadline.remaining()
        if late > 0 and self.waiting:
            raise Overloaded(
                f"about {expected:.1f} s of work are waiting, more than this call's deadline leaves",
                metadata={"limit": "deadline"},
                retry_after=min(30.0, max(0.1, late)),
            )

    @contextlib.asynccontextmanager
    async def passing(self, units: int, deadline: Deadline) -> AsyncIterator[None]:
        """Waits for its turn, and is inside while inside. Work larger than the room goes alone.

        Raises Overloaded at once for what would come too late, and DeadlineExceeded for what would by its
        turn, after all.
        """
        self.check(current_lane(), units, deadline)
        with self._presence.counted(current_lane() is Lane.INTERACTIVE):
            visit, done = await self.enter(units, deadline=deadline), False
            try:
                if deadline.remaining() < MIN_TIME_FRACTION * (self._stay.value or 0.0):
                    raise DeadlineExceeded(
                        f"the deadline would pass during {self._stage}", metadata={"stage": self._stage}
                    )
                yield
                done = True
            finally:
                self.leave(visit, units, done=done)

    async def enter(
        self, units: int = 1, *, cost: int | None = None, deadline: Deadline | None = None
    ) -> Visit:
        """Waits for its turn; `leave` must follow. DeadlineExceeded where the deadline comes before.

        Args:
            units: room that it takes.
            cost: of its lane's and its caller's shares; as many as units by default.
        """
        lane, caller = current_lane(), _caller.get()
        cost = units if cost is None else cost
        # Bulk that waits for room of its own keeps nobody else out.
        if self._fits(lane, units) and not any(map(self._has_turn, Lane)):
            return self._let_in(lane, units)
        others = [self._passes[it] for it in Lane if len(self._queues[it])]
        if not len(self._queues[lane]) and others:
            # Who had nothing to do has no claim to what it missed.
            self._passes[lane] = max(self._passes[lane], min(others))
        turn = _Turn(units, cost)
        self._queues[lane].append(caller, turn)
        self._waiting[lane] += units
        expiry = None
        if deadline is not None:
            seconds = max(0.0, deadline.remaining())
            expiry = asyncio.get_running_loop().call_later(seconds, turn.expire, self._stage)
        try:
            return await turn.come
        except asyncio.CancelledError:
            if not turn.come.cancelled() and not turn.come.exception():
                self.leave(turn.come.result(), units, done=False)
            else:
                self._give_up(lane, caller, turn)
            raise
        except DeadlineExceeded:
            self._give_up(lane, caller, turn)
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    def _give_up(self, lane: Lane, caller: Hashable, turn: _Turn) -> None:
        if self._queues[lane].remove(caller, turn):
            self._waiting[lane] -= turn.units
            self._admit()

    def leave(self, visit: Visit, units: int = 1, *, done: bool) -> None:
        """Makes room for others. `done` says whether the work of the visit was done."""
        if done:
            self._measure(units, visit)
        self._count(visit.lane, -units, -1)
        self._admit()

    def _fits(self, lane: Lane, units: int) -> bool:
        return self._may(lane, units) and (self.inside == 0 or self.inside + units <= self.room)

    def _may(self, lane: Lane, units: int) -> bool:
        """Whether a lane's own room allows it."""
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
            lane = min(queues, key=lambda it: self._passes[it])
            turn = self._queues[lane].next()
            if not self._fits(lane, turn.units) and not turn.come.done():
                return
            gone = turn.come.done()
            self._queues[lane].take(0 if gone else turn.cost)
            self._waiting[lane] -= turn.units
            if gone:
                continue
            self._passes[lane] += turn.cost / self._weights[lane]
            turn.come.set_result(self._let_in(lane, turn.units))

    def _has_turn(self, lane: Lane) -> bool:
        """Whether somebody of that lane waits, and for no room of the lane's own."""
        if not len(self._queues[lane]):
            return False
        turn = self._queues[lane].next()
        return turn.come.done() or self._may(lane, turn.units)

    def _let_in(self, lane: Lane, units: int) -> Visit:
        self._count(lane, units, 1)
        return Visit(time.monotonic(), self.inside, lane)

    def _measure(self, units: int, visit: Visit) -> None:
        stay = time.monotonic() - visit.began
        self._stay.add(stay, 1)
        if self.waiting:
            self._pace.add(stay / visit.inside * units, units)
