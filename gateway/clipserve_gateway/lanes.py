"""Two lanes of work, interactive and bulk, and a gate at which neither starves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import enum
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from clipserve_gateway.deadline import Deadline
from clipserve_gateway.errors import DeadlineExceeded, Overloaded

MEMORY_SECONDS = 3.0
"""How far back a pace is looked for; one pause counts as no more, be it ever so long."""
HOPELESS = 0.5
"""Work that has less time left than this part of what work takes is not begun."""
CAUTION = 1.25
"""How much longer than expected a wait is taken to be, since it is a guess."""


class Lane(enum.Enum):
    """Who waits for the answer: a person, or a job that takes hours anyway."""

    INTERACTIVE = "interactive"
    BULK = "bulk"

    # As members are single, this is the same; Enum's own is a call in Python, forty times in each of ours.
    __hash__ = object.__hash__


_lane: contextvars.ContextVar[Lane] = contextvars.ContextVar("lane", default=Lane.INTERACTIVE)


def current_lane() -> Lane:
    """The lane of the call being served."""
    return _lane.get()


@contextlib.contextmanager
def in_lane(lane: Lane) -> Iterator[None]:
    """What runs inside is work of this lane."""
    before = _lane.get()
    _lane.set(lane)
    try:
        yield
    finally:
        # Not by a token: a stream that is dropped is closed in another context than it was begun in.
        _lane.set(before)


class _Pace:
    """Seconds to a unit, over the last moments: sums that fade (many units may come in one moment)."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._units = 0.0

    @property
    def value(self) -> float | None:
        """None before the first measurement."""
        return self._seconds / self._units if self._units else None

    def add(self, seconds: float, units: int) -> None:
        seconds = min(seconds, MEMORY_SECONDS)
        fading = math.exp(-seconds / MEMORY_SECONDS)
        self._seconds = self._seconds * fading + seconds
        self._units = self._units * fading + units


class Visit(NamedTuple):
    """Work inside: when it came in, on the monotonic clock, and the units inside then, its own too."""

    began: float
    inside: int


class _Turn:
    """Somebody who waits."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.come: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()


class Gate:
    """Lets a bounded amount of work through at a time, and shares it between the lanes while both wait.

    The gate measures how fast work gets done while others wait, so it can tell before work begins that it
    would come too late: who leaves has been inside for as long as those took who were there when it came
    (Little's law). Only what succeeds counts: what fails or is given up leaves fast, and serves nobody.
    Belongs to one event loop.

    Args:
        room: units of work (images, rows) that may be inside at a time.
        bulk_share: of what passes while both lanes wait, the part that is bulk, 0–1.
    """

    def __init__(self, room: int, bulk_share: float) -> None:
        self.room = room
        self.inside = 0
        self._weights = {Lane.INTERACTIVE: 1.0 - bulk_share, Lane.BULK: bulk_share}
        self._queues: dict[Lane, deque[_Turn]] = {lane: deque() for lane in Lane}
        self._waiting = dict.fromkeys(Lane, 0)
        # Stride scheduling (Waldspurger and Weihl, 1995): the lane with the lower pass goes next.
        self._passes = dict.fromkeys(Lane, 0.0)
        self._pace = _Pace()
        """At which work gets done while others wait."""
        self._stay = _Pace()
        """Of one piece of work, inside."""

    @property
    def waiting(self) -> int:
        """Units that wait, of both lanes."""
        return sum(self._waiting.values())

    def expected_seconds(self, lane: Lane, units: int = 1) -> float:
        """How long work that came now would take: its wait and its stay. 0 while nothing is known."""
        stay = self._stay.value or 0.0
        ahead = self._waiting[lane] + units
        if self.inside + self.waiting + units <= self.room or self._pace.value is None:
            return stay
        other = any(self._waiting[it] for it in Lane if it is not lane)
        share = self._weights[lane] if other else 1.0
        return self._pace.value * ahead / share + stay

    def check(self, lane: Lane, units: int, deadline: Deadline) -> None:
        """Raises Overloaded for work that would come too late."""
        expected = CAUTION * self.expected_seconds(lane, units)
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
        visit, done = await self.enter(units), False
        try:
            if deadline.remaining() < HOPELESS * (self._stay.value or 0.0):
                raise DeadlineExceeded("the deadline would pass during encode", metadata={"stage": "encode"})
            yield
            done = True
        finally:
            self.leave(units, visit if done else None)

    async def enter(self, units: int = 1) -> Visit:
        """Waits for its turn; `leave` must follow."""
        lane = current_lane()
        if not self.waiting and self._fits(units):
            return self._let_in(units)
        others = [self._passes[it] for it in Lane if self._queues[it]]
        if not self._queues[lane] and others:
            # Who had nothing to do has no claim to what it missed.
            self._passes[lane] = max(self._passes[lane], min(others))
        turn = _Turn(units)
        self._queues[lane].append(turn)
        self._waiting[lane] += units
        try:
            return await turn.come
        except asyncio.CancelledError:
            if not turn.come.cancelled():
                self.leave(units)
            elif turn in self._queues[lane]:
                self._queues[lane].remove(turn)
                self._waiting[lane] -= units
                self._admit()
            raise

    def leave(self, units: int = 1, done: Visit | None = None) -> None:
        """Makes room for others. `done` is the visit of work that was done."""
        if done is not None:
            self._measure(units, done)
        self.inside -= units
        self._admit()

    def _fits(self, units: int) -> bool:
        return self.inside == 0 or self.inside + units <= self.room

    def _admit(self) -> None:
        while queues := [lane for lane in Lane if self._queues[lane]]:
            lane = min(queues, key=lambda it: self._passes[it])
            turn = self._queues[lane][0]
            if not self._fits(turn.units) and not turn.come.cancelled():
                return
            self._queues[lane].popleft()
            self._waiting[lane] -= turn.units
            if turn.come.cancelled():
                continue
            self._passes[lane] += turn.units / self._weights[lane]
            turn.come.set_result(self._let_in(turn.units))

    def _let_in(self, units: int) -> Visit:
        self.inside += units
        return Visit(time.monotonic(), self.inside)

    def _measure(self, units: int, visit: Visit) -> None:
        stay = time.monotonic() - visit.began
        self._stay.add(stay, 1)
        if self.waiting:
            self._pace.add(stay / visit.inside * units, units)
