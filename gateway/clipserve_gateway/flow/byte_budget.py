"""Bytes that are held for calls: received, waiting, read from the engine, answered and not yet sent.

There is room for so many bytes. Small holds and large ones have parts of their own, so that a text does
not wait behind a flood of large pictures. Who finds no room waits in line; owners (tokens or connections) of
large holds take turns, and none has more than half of that part while others are there.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.deadline import Deadline

SMALL_BYTES = 1 << 20
"""Holds of no more bytes are small."""
SMALL_PART = 1 / 8
"""Part of the room that only small holds may use; they use no other."""
RETRY_SECONDS = 1.0
"""When a call for which there was no room may come again."""


class Hold:
    """Bytes that are held for one call, until they are released."""

    def __init__(self, budget: ByteBudget, owner: str, size: int) -> None:
        self.owner = owner
        self.size = size
        self._budget = budget
        self._released = False

    @property
    def large(self) -> bool:
        """Whether it counts among the large ones."""
        return self.size > SMALL_BYTES

    def resize(self, size: int) -> None:
        """What is held has this size now, be there room or not; others wait until there is."""
        if not self._released:
            self._budget._change(self, size)

    def try_resize(self, size: int) -> bool:
        """Resizes it where there is room for that and nobody else waits for it; whether it did."""
        return not self._released and self._budget._try_change(self, size)

    async def grow(self, size: int, deadline: Deadline) -> None:
        """Waits until there is room for it to grow to a size.

        One that grows does not wait behind those that have nothing yet: what it has, others cannot have.
        Where all others wait to grow too, one of them goes beyond the room, so that somebody gets on. Raises
        Overloaded when the deadline has passed.
        """
        if size <= SMALL_BYTES or size <= self.size:
            self.resize(size)
        else:
            await self._budget._grow(self, size, deadline)

    def release(self, *_: object) -> None:
        """Nothing is held any more. Does nothing the second time; takes what callbacks are given."""
        if not self._released:
            self._budget._change(self, 0)
            self._released = True
            self._budget._grown.discard(self)


@dataclass(eq=False)
class _Turn:
    """Somebody who waits."""

    hold: Hold
    size: int
    future: asyncio.Future[None]


class ByteBudget:
    """Belongs to one event loop."""

    def __init__(self, room: int, report: Callable[[float], None] = lambda used: None) -> None:
        """`report` is told the bytes that are held, whenever they change."""
        self.room = room
        self._report = report
        self._small_room = int(room * SMALL_PART)
        self._large_room = room - self._small_room
        self._small = self._large = 0
        self._owned: Counter[str] = Counter()
        """Bytes of each owner's large holds."""
        self._grown: set[Hold] = set()
        self._growing: deque[_Turn] = deque()
        self._waiting_small: deque[_Turn] = deque()
        self._waiting_large: dict[str, deque[_Turn]] = {}
        """By owner, who take turns in this order."""
        self.refused = 0
        """Holds that were not to be had at once; it only grows."""

    @property
    def used(self) -> int:
        """Bytes that are held."""
        return self._small + self._large

    def wanted(self, *, large: bool) -> bool:
        """Whether somebody waits for room of the small or the large part."""
        return bool(self._growing or self._waiting_large) if large else bool(self._waiting_small)

    def saturation(self) -> float:
        """How full it is, 0–1."""
        return min(1.0, max(self._small / self._small_room, self._large / self._large_room))

    def try_hold(self, size: int, owner: str = "") -> Hold | None:
        """Holds bytes at once; None where there is no room, or others wait for it."""
        hold = Hold(self, owner, 0)
        size = self._clamped(size)
        waiting = self._waiting_large if size > SMALL_BYTES else self._waiting_small
        if waiting or (size > SMALL_BYTES and self._growing) or not self._fits(hold, size):
            self.refused += 1
            return None
        self._change(hold, size)
        return hold

    def _try_change(self, hold: Hold, size: int) -> bool:
        more = size - hold.size * hold.large
        if self._waiting_large or self._growing or self._large + more > self._large_room:
            self.refused += 1
            return False
        self._change(hold, size)
        return True

    async def hold(self, size: int, owner: str, deadline: Deadline) -> Hold:
        """Waits for room, in line. Raises Overloaded when the deadline has passed."""
        found = self.try_hold(size, owner)
        if found is not None:
            return found
        size = self._clamped(size)
        turn = _Turn(Hold(self, owner, 0), size, asyncio.get_running_loop().create_future())
        line = self._waiting_large.setdefault(owner, deque()) if size > SMALL_BYTES else self._waiting_small
        line.append(turn)
        self._wake()
        await self._wait(turn, line, deadline)
        return turn.hold

    def must_hold(self, size: int, owner: str = "") -> Hold:
        """Holds what is there already, be there room or not; others wait until there is."""
        hold = Hold(self, owner, 0)
        self._change(hold, size)
        return hold

    async def _grow(self, hold: Hold, size: int, deadline: Deadline) -> None:
        if not self._growing and self._may_grow(hold, size):
            self._grown.add(hold)
            self._change(hold, size)
            return
        self.refused += 1
        turn = _Turn(hold, size, asyncio.get_running_loop().create_future())
        self._growing.append(turn)
        await self._wait(turn, self._growing, deadline)

    async def _wait(self, turn: _Turn, line: deque[_Turn], deadline: Deadline) -> None:
        try:
            done, _ = await asyncio.wait({turn.future}, timeout=max(0.0, deadline.remaining()))
        except asyncio.CancelledError:
            self._leave(turn, line)
            turn.hold.release()
            raise
        if not done:
            self._leave(turn, line)
            raise no_room()

    def _leave(self, turn: _Turn, line: deque[_Turn]) -> None:
        if turn in line:
            line.remove(turn)
            if not line and self._waiting_large.get(turn.hold.owner) is line:
                del self._waiting_large[turn.hold.owner]
            self._wake()

    def _clamped(self, size: int) -> int:
        """What is larger than its part has the part for itself."""
        return min(size, self._large_room if size > SMALL_BYTES else self._small_room)

    def _fits(self, hold: Hold, size: int) -> bool:
        if size <= SMALL_BYTES:
            return self._small + size <= self._small_room
        own = self._owned[hold.owner]
        alone = own in (0, self._large)
        return self._large + size <= self._large_room and (alone or 2 * (own + size) <= self._large_room)

    def _may_grow(self, hold: Hold, size: int) -> bool:
        return not self._grown or self._large + size - hold.size * hold.large <= self._large_room

    def _change(self, hold: Hold, size: int) -> None:
        if hold.large:
            self._large -= hold.size
            self._owned[hold.owner] -= hold.size
            if not self._owned[hold.owner]:
                del self._owned[hold.owner]
        else:
            self._small -= hold.size
        smaller = size < hold.size
        hold.size = size
        if hold.large:
            self._large += size
            self._owned[hold.owner] += size
        else:
            self._small += size
            self._grown.discard(hold)
        self._report(self.used)
        if smaller:
            self._wake()

    def _wake(self) -> None:
        """Lets in those whose turn it is, as far as there is room."""
        while self._growing and self._may_grow(self._growing[0].hold, self._growing[0].size):
            turn = self._growing.popleft()
            self._grown.add(turn.hold)
            self._enter(turn)
        while self._waiting_small and self._fits(self._waiting_small[0].hold, self._waiting_small[0].size):
            self._enter(self._waiting_small.popleft())
        while not self._growing and (owner := self._next_owner()) is not None:
            line = self._waiting_large.pop(owner)
            turn = line.popleft()
            if line:
                self._waiting_large[owner] = line
            self._enter(turn)

    def _next_owner(self) -> str | None:
        """The owner whose turn it is, if there is room for what it wants.

        One that has its half is passed over; one for whom there is too little room yet is not, or large holds
        would never get their turn.
        """
        for owner, line in self._waiting_large.items():
            if self._fits(line[0].hold, line[0].size):
                return owner
            if self._large + line[0].size > self._large_room:
                return None
        return None

    def _enter(self, turn: _Turn) -> None:
        self._change(turn.hold, turn.size)
        turn.future.set_result(None)


def no_room() -> Overloaded:
    """The error of a call for whose bytes there was no room."""
    return Overloaded(
        "there is no room for the bytes of this call now; try again later",
        metadata={"limit": "held_bytes"},
        retry_after=RETRY_SECONDS,
    )
