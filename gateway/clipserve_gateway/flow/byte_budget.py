"""A limit for the bytes that calls hold in memory: received, queued, read from the engine, not sent yet.

Small holds and large holds have separate room, so that a text does not wait behind many large images. Calls
without room wait in order. Owners (tokens or connections) of large holds take turns, and no owner has more
than half of the room for large holds while there are other owners.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.deadline import Deadline

SMALL_BYTES = 1 << 20
"""Holds of at most this size are small."""
SMALL_PART = 1 / 8
"""Fraction of the room for small holds; they use only this part, and large holds only the rest."""
RETRY_SECONDS = 1.0
"""Retry delay of a call without room."""


class Hold:
    """Bytes that are held for one call until they are released."""

    def __init__(self, budget: ByteBudget, owner: str, size: int) -> None:
        self.owner = owner
        self.size = size
        self._budget = budget
        self._released = False

    @property
    def large(self) -> bool:
        """Whether it counts as a large hold."""
        return self.size > SMALL_BYTES

    def resize(self, size: int) -> None:
        """Changes the size even without room; others then wait for room."""
        if not self._released:
            self._budget._change(self, size)

    def try_resize(self, size: int) -> bool:
        """Changes the size if there is room and nobody waits for room; returns whether it did."""
        return not self._released and self._budget._try_change(self, size)

    async def grow(self, size: int, deadline: Deadline) -> None:
        """Waits for room to grow to a size.

        Growing holds come before new ones, which cannot use the bytes that these hold. If all holds wait to
        grow, one of them may exceed the room, so that there is no deadlock. Raises Overloaded when the
        deadline has passed.
        """
        if size <= SMALL_BYTES or size <= self.size:
            self.resize(size)
        else:
            await self._budget._grow(self, size, deadline)

    def release(self, *_: object) -> None:
        """Releases all bytes. May be called again and as a callback."""
        if not self._released:
            self._budget._change(self, 0)
            self._released = True
            self._budget._grown.discard(self)


@dataclass(eq=False)
class _Waiter:
    """A hold that waits for room."""

    hold: Hold
    size: int
    future: asyncio.Future[None]


class ByteBudget:
    """Belongs to one event loop."""

    def __init__(self, room: int, report: Callable[[float], None] = lambda used: None) -> None:
        """`report` is called with the bytes in use whenever they change."""
        self.room = room
        self._report = report
        self._small_room = int(room * SMALL_PART)
        self._large_room = room - self._small_room
        self._small = self._large = 0
        self._owned: Counter[str] = Counter()
        """Bytes of large holds by owner."""
        self._grown: set[Hold] = set()
        self._growing: deque[_Waiter] = deque()
        self._waiting_small: deque[_Waiter] = deque()
        self._waiting_large: dict[str, deque[_Waiter]] = {}
        """By owner, in the order of their turns."""
        self.refused = 0
        """Number of holds that found no room at first; never decreases."""

    @property
    def used(self) -> int:
        """Bytes in use."""
        return self._small + self._large

    def wanted(self, *, large: bool) -> bool:
        """Whether a hold waits for room for small or large holds."""
        return bool(self._growing or self._waiting_large) if large else bool(self._waiting_small)

    def saturation(self) -> float:
        """Returns the fraction in use of the fuller part, 0–1."""
        return min(1.0, max(self._small / self._small_room, self._large / self._large_room))

    def try_hold(self, size: int, owner: str = "") -> Hold | None:
        """Holds bytes at once; returns None if there is no room or others wait for it."""
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
        """Waits for room in order. Raises Overloaded when the deadline has passed, also if cancelled then."""
        hold = self.try_hold(size, owner)
        if hold is not None:
            return hold
        size = self._clamped(size)
        waiter = _Waiter(Hold(self, owner, 0), size, asyncio.get_running_loop().create_future())
        queue = self._waiting_large.setdefault(owner, deque()) if size > SMALL_BYTES else self._waiting_small
        queue.append(waiter)
        self._wake()
        await self._wait(waiter, queue, deadline)
        return waiter.hold

    def must_hold(self, size: int, owner: str = "") -> Hold:
        """Holds bytes that are in memory already, even without room; others then wait for room."""
        hold = Hold(self, owner, 0)
        self._change(hold, size)
        return hold

    async def _grow(self, hold: Hold, size: int, deadline: Deadline) -> None:
        if not self._growing and self._may_grow(hold, size):
            self._grown.add(hold)
            self._change(hold, size)
            return
        self.refused += 1
        waiter = _Waiter(hold, size, asyncio.get_running_loop().create_future())
        self._growing.append(waiter)
        await self._wait(waiter, self._growing, deadline)

    async def _wait(self, waiter: _Waiter, queue: deque[_Waiter], deadline: Deadline) -> None:
        try:
            done, _ = await asyncio.wait({waiter.future}, timeout=max(0.0, deadline.remaining()))
        except asyncio.CancelledError:
            self._leave(waiter, queue)
            waiter.hold.release()
            # Whoever bounds the whole call by the same deadline may cancel this wait first.
            if deadline.remaining() <= 0:
                raise no_room() from None
            raise
        if not done:
            self._leave(waiter, queue)
            raise no_room()

    def _leave(self, waiter: _Waiter, queue: deque[_Waiter]) -> None:
        if waiter in queue:
            queue.remove(waiter)
            if not queue and self._waiting_large.get(waiter.hold.owner) is queue:
                del self._waiting_large[waiter.hold.owner]
            self._wake()

    def _clamped(self, size: int) -> int:
        """Limits a size to its part of the room, so that a larger hold gets the whole part."""
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
        """Gives room to waiting holds in order."""
        while self._growing and self._may_grow(self._growing[0].hold, self._growing[0].size):
            waiter = self._growing.popleft()
            self._grown.add(waiter.hold)
            self._enter(waiter)
        while self._waiting_small and self._fits(self._waiting_small[0].hold, self._waiting_small[0].size):
            self._enter(self._waiting_small.popleft())
        while not self._growing and (owner := self._next_owner()) is not None:
            queue = self._waiting_large.pop(owner)
            waiter = queue.popleft()
            if queue:
                self._waiting_large[owner] = queue
            self._enter(waiter)

    def _next_owner(self) -> str | None:
        """Returns the owner whose turn it is if there is room for its hold.

        Owners that have their half are skipped. Owners that need more room than there is now are not skipped;
        otherwise the largest holds would never get room.
        """
        for owner, queue in self._waiting_large.items():
            if self._fits(queue[0].hold, queue[0].size):
                return owner
            if self._large + queue[0].size > self._large_room:
                return None
        return None

    def _enter(self, waiter: _Waiter) -> None:
        self._change(waiter.hold, waiter.size)
        waiter.future.set_result(None)


def no_room() -> Overloaded:
    """Returns the error of a call without room for its bytes."""
    return Overloaded(
        "the server has no memory for the bytes of this call now; try again later",
        metadata={"limit": "held_bytes"},
        retry_after=RETRY_SECONDS,
    )
