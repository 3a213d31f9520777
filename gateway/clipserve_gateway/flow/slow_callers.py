"""Callers that are slow to send their messages, or to take their answers.

A message that is whole within moments needs no room while it is received: so small calls never wait for it.
One that takes longer is watched by what its connection receives, and from some size on it needs room in the
byte budget; where there is none its call ends. An idle stream holds nothing, and may wait for ever.

While others wait for room, who sends or reads too slowly loses what it has.
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
"""Messages that are whole by then are not looked at."""
LOOK_SECONDS = 0.05
LOOK_SECONDS_EACH = 0.0005
"""For each connection that is watched: a look takes some 10 µs for it."""
FREE_BYTES = 1 << 20
"""What a connection may have sent of unfinished messages without room for them."""
FIRST_STEP_BYTES = 8 << 20
"""Room that a message gets when it has more; beyond it gets room for the largest."""
WINDOW_BYTES = 65_535
"""What is sent of a call that nobody reads."""
PATIENCE_SECONDS = 10.0
LEAST_RATE = 1 << 20
"""Bytes a second. Within PATIENCE_SECONDS and the time at this rate, messages and answers pass."""
FORGET_SECONDS = 60.0


@dataclass(eq=False)
class Reading:
    """A message that is being received, by a task that waits for it."""

    peer: str
    owner: str
    task: asyncio.Task[object]
    hold: Hold | None = None
    since: float = 0.0
    ended: Overloaded | None = None
    """Why it was given up; then the task was cancelled."""
    timer: asyncio.TimerHandle | None = None

    @property
    def room(self) -> int:
        """Bytes that it has room for."""
        return self.hold.size if self.hold is not None else 0


@dataclass(eq=False)
class Sending:
    """An answer that is on its way."""

    peer: str
    size: int
    since: float


@dataclass(eq=False)
class _Connection:
    """What is known of one connection."""

    fd: int = -1
    explained: int = 0
    """Of the bytes that it has received, those that are not of messages under way."""
    waiting: int = 0
    """Calls that wait before their message is read."""
    readings: list[Reading] = field(default_factory=list)
    sendings: set[Sending] = field(default_factory=set)

    @property
    def unused(self) -> bool:
        return not (self.readings or self.sendings or self.waiting)


class SlowCallers:
    """Watches them. Belongs to one event loop."""

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
        """`largest` is the largest message, in bytes."""
        self._budget = budget
        self._largest = largest
        self._received = received
        self._open = connections
        self._cut = cut
        self._clock = clock
        self._connections: dict[str, _Connection] = {}
        self._slow: set[str] = set()
        """Peers that are watched."""
        self._work = asyncio.Event()
        self._refused, self._wanted_until = 0, 0.0
        self._forget_at = clock() + FORGET_SECONDS

    def begin(self, reading: Reading) -> None:
        """A message is asked for."""
        connection = self._of(reading.peer)
        if connection.fd >= 0 and not connection.readings:
            # Whatever came until now is of no message under way.
            connection.explained = self._received(connection.fd) or 0
        reading.since = self._clock()
        connection.readings.append(reading)
        loop = asyncio.get_running_loop()
        reading.timer = loop.call_later(QUICK_SECONDS, self.watch_peer, reading.peer)

    def end(self, reading: Reading, size: int | None) -> None:
        """It is whole, and had so many bytes, headers included; None where its caller has given it up."""
        if reading.timer is not None:
            reading.timer.cancel()
        connection = self._of(reading.peer)
        if size is None and reading.ended is None and connection.fd >= 0:
            # Of what is under way on its connection, it had its share.
            under_way = (self._received(connection.fd) or 0) - connection.explained
            size = max(0, under_way) // len(connection.readings)
        connection.readings.remove(reading)
        connection.explained += size or 0

    def wait_before(self, peer: str, calls: int) -> None:
        """So many more calls of a connection wait before their message is read."""
        self._of(peer).waiting += calls

    def send(self, peer: str, size: int) -> Sending:
        """An answer begins to be sent."""
        sending = Sending(peer, size, self._clock())
        self._of(peer).sendings.add(sending)
        self.watch_peer(peer)
        return sending

    def sent(self, sending: Sending) -> None:
        """It was sent, or will not be."""
        self._of(sending.peer).sendings.discard(sending)

    def watch_peer(self, peer: str) -> None:
        """Looks at a connection from now on, as long as it has something under way."""
        self._slow.add(peer)
        self._work.set()

    async def watch(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._work.wait()
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SECONDS_EACH * len(self._slow)))
            self.look()
            if not self._slow:
                self._work.clear()

    def look(self) -> None:
        """Looks at all that is slow, once."""
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
        found = self._connections.get(peer)
        if found is None:
            found = self._connections[peer] = _Connection()
        return found

    def _find_slow(self, now: float) -> None:
        """Leaves out what is not slow any more, and finds the sockets of the rest."""
        self._slow = {peer for peer in self._slow if not self._of(peer).unused}
        if any(self._of(peer).fd < 0 for peer in self._slow):
            there = self._open()
            for peer in self._slow:
                self._of(peer).fd = there.get(peer, -1)

    def _measure(self, connection: _Connection, now: float) -> int:
        """Sees to it that unfinished messages have room; the bytes that have none."""
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
        return [it for it in connection.readings if it.ended is None and now - it.since >= QUICK_SECONDS]

    def _step(self, reading: Reading) -> bool:
        """Gives the message more room, if there is some."""
        wanted = FIRST_STEP_BYTES if reading.room < FIRST_STEP_BYTES else self._largest
        wanted = min(wanted, self._largest)
        if reading.hold is None:
            reading.hold = self._budget.try_hold(wanted, reading.owner)
            return reading.hold is not None
        return reading.hold.try_resize(wanted)

    def _give_up(self, connection: _Connection, reading: Reading, loose: int) -> int:
        """Ends a message; its part of the bytes that are loose."""
        part = loose // max(1, sum(it.ended is None for it in connection.readings))
        connection.explained += reading.room + part
        self._end(reading, no_room())
        return part

    def _end(self, reading: Reading, error: Overloaded) -> None:
        reading.ended = error
        if reading.hold is not None:
            reading.hold.release()
        reading.task.cancel()

    def _bound(self, loose: dict[str, int], now: float) -> None:
        """Keeps what all connections have sent without room within the part of small messages."""
        while loose and sum(loose.values()) > self._budget.room * SMALL_PART:
            peer = max(loose, key=lambda it: loose[it])
            most = loose.pop(peer)
            connection = self._connections[peer]
            for reading in self._watched(connection, now):
                if reading.hold is None:
                    self._give_up(connection, reading, most)

    def _hurry(self, peer: str, connection: _Connection, now: float) -> None:
        """While others wait: ends messages that have room and come too slowly, and answers nobody takes."""
        for reading in self._watched(connection, now):
            if reading.hold is not None and now - reading.since > patience(reading.room):
                connection.explained += reading.room
                self._end(reading, too_slow())
        for sending in list(connection.sendings):
            if connection.fd >= 0 and now - sending.since > patience(sending.size):
                # gRPC has no way to take back what it was given to send.
                self._cut(connection.fd, peer)
                break

    def _forget(self) -> None:
        """Drops what is known of connections that are gone."""
        self._forget_at = self._clock() + FORGET_SECONDS
        there = self._open()
        gone = [peer for peer, it in self._connections.items() if it.unused and peer not in there]
        for peer in gone:
            del self._connections[peer]

    def __iter__(self) -> Iterator[str]:
        """The peers that are known."""
        return iter(self._connections)


def patience(size: int) -> float:
    """Seconds that so many bytes may take while others wait."""
    return PATIENCE_SECONDS + size / LEAST_RATE


def too_slow() -> Overloaded:
    """The error of a call whose message came too slowly while others waited for its room."""
    return Overloaded(
        "the message of this call came too slowly while others waited for the room that it took; try again",
        metadata={"limit": "held_bytes"},
    )
