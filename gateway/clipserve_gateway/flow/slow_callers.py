"""Limits callers that send their messages or read their answers slowly.

A message that arrives within QUICK_SECONDS needs no room while it is received, so small calls never wait for
room. A message that takes longer is watched by the bytes that its connection receives. Above FREE_BYTES it
needs room in the byte budget; without room its call ends. An idle stream holds nothing and may stay open.

While other calls wait for room, callers that send or read too slowly lose theirs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from clipserve_gateway.errors import Overloaded
from clipserve_gateway.flow.byte_budget import SMALL_PART, ByteBudget, Hold, no_room
from clipserve_gateway.process import arrivals

QUICK_SECONDS = 0.1
"""Messages that arrive within this time are not watched."""
LOOK_SECONDS = 0.05
LOOK_SECONDS_EACH = 0.0005
"""Added for each watched connection, whose check takes about 10 µs."""
FREE_BYTES = 1 << 20
"""Bytes of incomplete messages that a connection may send without room."""
FIRST_STEP_BYTES = 8 << 20
"""First room that a longer message gets; after that it gets room for the largest message."""
WINDOW_BYTES = 65_535
"""Bytes that are sent of a call before it is read: the window of HTTP/2."""
PATIENCE_SECONDS = 10.0
LEAST_RATE = 1 << 20
"""Bytes per second. A message or answer may take PATIENCE_SECONDS and its time at this rate."""
FORGET_SECONDS = 60.0


@dataclass(eq=False)
class Reading:
    """A message that a task is receiving."""

    peer: str
    owner: str
    task: asyncio.Task[object]
    hold: Hold | None = None
    since: float = 0.0
    ended: Overloaded | None = None
    """The error with which it was ended; its task was cancelled then."""
    timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """Bytes of its room."""
        return self.hold.size if self.hold is not None else 0


@dataclass(eq=False)
class Sending:
    """An answer that is being sent."""

    peer: str
    size: int
    since: float


@dataclass(eq=False)
class _Connection:
    """The state of one connection."""

    fd: int = -1
    explained: int = 0
    """Received bytes that do not belong to incomplete messages."""
    waiting: int = 0
    """Calls whose message is not read yet."""
    readings: list[Reading] = field(default_factory=list)
    sendings: set[Sending] = field(default_factory=set)

    @property
    def unused(self) -> bool:
        return not (self.readings or self.sendings or self.waiting)


class SlowCallers:
    """Watches messages and answers under way. Belongs to one event loop."""

    def __init__(
        self,
        budget: ByteBudget,
        largest: int,
        *,
        received: Callable[[int], int | None] = arrivals.received_bytes,
        connections: Callable[[], dict[str, int]] = arrivals.connections,
        cut: Callable[[int, str], None] = arrivals.close_connection,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`largest` is the size of the largest message in bytes."""
        self._budget = budget
        self._largest = largest
        self._received = received
        self._open = connections
        self._cut = cut
        self._clock = clock
        self._connections: dict[str, _Connection] = {}
        self._slow: set[str] = set()
        """Watched peers."""
        self._work = asyncio.Event()
        self._refused, self._wanted_until = 0, 0.0
        self._forget_at = clock() + FORGET_SECONDS

    def begin(self, reading: Reading) -> None:
        """Begins to receive a message."""
        connection = self._of(reading.peer)
        if connection.fd >= 0 and not connection.readings:
            # Bytes that were received before do not belong to an incomplete message.
            connection.explained = self._received(connection.fd) or 0
        reading.since = self._clock()
        connection.readings.append(reading)
        loop = asyncio.get_running_loop()
        reading.timer = loop.call_later(QUICK_SECONDS, self.watch_peer, reading.peer)

    def end(self, reading: Reading, size: int | None) -> None:
        """Ends a message of `size` bytes including headers; None if its caller gave it up."""
        if reading.timer is not None:
            reading.timer.cancel()
        connection = self._of(reading.peer)
        if size is None and reading.ended is None and connection.fd >= 0:
            # Its equal share of the bytes under way on its connection.
            under_way = (self._received(connection.fd) or 0) - connection.explained
            size = max(0, under_way) // len(connection.readings)
        connection.readings.remove(reading)
        connection.explained += size or 0

    def wait_before(self, peer: str, calls: int) -> None:
        """Adds to the calls of a connection whose message is not read yet."""
        self._of(peer).waiting += calls

    def send(self, peer: str, size: int) -> Sending:
        """Begins to send an answer."""
        sending = Sending(peer, size, self._clock())
        self._of(peer).sendings.add(sending)
        self.watch_peer(peer)
        return sending

    def sent(self, sending: Sending) -> None:
        """Ends an answer that was sent or dropped."""
        self._of(sending.peer).sendings.discard(sending)

    def watch_peer(self, peer: str) -> None:
        """Watches a connection from now on while it has messages or answers under way."""
        self._slow.add(peer)
        self._work.set()

    async def watch(self) -> None:
        """Checks the watched connections until it is cancelled."""
        while True:
            await self._work.wait()
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SECONDS_EACH * len(self._slow)))
            self.look()
            if not self._slow:
                self._work.clear()

    def look(self) -> None:
        """Checks all watched connections once."""
        now = self._clock()
        self._find_slow(now)
        if self._budget.refused != self._refused or self._wanted_by_anyone:
            self._refused, self._wanted_until = self._budget.refused, now + PATIENCE_SECONDS
        loose: dict[str, int] = {}
        for peer in list(self._slow):
            connection = self._connections[peer]
            if now < self._wanted_until:
                self._hurry(peer, connection, now)
            loose[peer] = self._measure(connection, now)
        self._bound(loose, now)
        if now >= self._forget_at:
            self._forget()

    @property
    def _wanted_by_anyone(self) -> bool:
        return self._budget.wanted(large=True) or self._budget.wanted(large=False)

    def _of(self, peer: str) -> _Connection:
        connection = self._connections.get(peer)
        if connection is None:
            connection = self._connections[peer] = _Connection()
        return connection

    def _find_slow(self, now: float) -> None:
        """Drops connections without messages under way, and finds the sockets of the others."""
        self._slow = {peer for peer in self._slow if not self._of(peer).unused}
        if any(self._of(peer).fd < 0 for peer in self._slow):
            sockets = self._open()
            for peer in self._slow:
                self._of(peer).fd = sockets.get(peer, -1)

    def _measure(self, connection: _Connection, now: float) -> int:
        """Gives incomplete messages room; returns the bytes without room."""
        received = self._received(connection.fd) if connection.fd >= 0 else None
        if received is None:
            return 0
        connection.explained = min(connection.explained, received)
        room = sum(reading.room for reading in connection.readings)
        loose = received - connection.explained - room
        free = FREE_BYTES + WINDOW_BYTES * connection.waiting
        for reading in reversed(self._watched(connection, now)):
            if loose <= free:
                break
            before = reading.room
            while loose > free and reading.room < self._largest and self._step(reading):
                loose -= reading.room - before
                before = reading.room
            if loose > free:
                loose -= self._give_up(connection, reading, loose)
        return max(0, loose)

    def _watched(self, connection: _Connection, now: float) -> list[Reading]:
        return [
            reading
            for reading in connection.readings
            if reading.ended is None and now - reading.since >= QUICK_SECONDS
        ]

    def _step(self, reading: Reading) -> bool:
        """Gives a message more room if there is room; returns whether it did."""
        wanted = FIRST_STEP_BYTES if reading.room < FIRST_STEP_BYTES else self._largest
        wanted = min(wanted, self._largest)
        if reading.hold is None:
            reading.hold = self._budget.try_hold(wanted, reading.owner)
            return reading.hold is not None
        return reading.hold.try_resize(wanted)

    def _give_up(self, connection: _Connection, reading: Reading, loose: int) -> int:
        """Ends a message; returns its part of the bytes without room."""
        part = loose // max(1, sum(other.ended is None for other in connection.readings))
        connection.explained += reading.room + part
        self._end(reading, no_room())
        return part

    def _end(self, reading: Reading, error: Overloaded) -> None:
        reading.ended = error
        if reading.hold is not None:
            reading.hold.release()
        reading.task.cancel()

    def _bound(self, loose: dict[str, int], now: float) -> None:
        """Keeps the bytes without room of all connections within the room for small messages."""
        while loose and sum(loose.values()) > self._budget.room * SMALL_PART:
            peer = max(loose, key=lambda other: loose[other])
            most = loose.pop(peer)
            connection = self._connections[peer]
            for reading in self._watched(connection, now):
                if reading.hold is None:
                    self._give_up(connection, reading, most)

    def _hurry(self, peer: str, connection: _Connection, now: float) -> None:
        """While others wait for room: ends messages that arrive too slowly and answers that are not read."""
        for reading in self._watched(connection, now):
            if reading.hold is not None and now - reading.since > patience(reading.room):
                connection.explained += reading.room
                self._end(reading, too_slow())
        for sending in list(connection.sendings):
            if connection.fd >= 0 and now - sending.since > patience(sending.size):
                # gRPC cannot withdraw bytes that it was given to send.
                self._cut(connection.fd, peer)
                break

    def _forget(self) -> None:
        """Drops the state of closed connections."""
        self._forget_at = self._clock() + FORGET_SECONDS
        sockets = self._open()
        gone = [peer for peer, state in self._connections.items() if state.unused and peer not in sockets]
        for peer in gone:
            del self._connections[peer]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the known peers."""
        return iter(self._connections)


def patience(size: int) -> float:
    """Returns the seconds that `size` bytes may take while others wait for room."""
    return PATIENCE_SECONDS + size / LEAST_RATE


def too_slow() -> Overloaded:
    """Returns the error of a call whose message arrived too slowly while others waited for room."""
    return Overloaded(
        "the message of this call arrived too slowly while other calls waited for memory; try again",
        metadata={"limit": "held_bytes"},
    )
