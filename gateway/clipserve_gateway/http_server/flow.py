"""What connections have received is parsed in turns, so that none of them holds the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

log = logging.getLogger(__name__)

TURN_SECONDS = 0.005
"""Time for which bytes of all connections are parsed before other callbacks of the event loop run."""
SLICE_SECONDS = 0.002
"""Slices that take longer become smaller: one-byte chunks take a thousand times as long as large ones."""
FIRST_BYTES, LEAST_BYTES, MOST_BYTES = 4 * 1024, 512, 64 * 1024
"""Bytes of a slice."""


class Turns:
    """Parses the bytes of connections in turns, a slice of each. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[ReadFlow] = deque()

    def wait(self, flow: ReadFlow) -> None:
        """Gives a connection its turn."""
        self._waiting.append(flow)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._parse)

    def _parse(self) -> None:
        begin = time.perf_counter()
        while self._waiting:
            flow = self._waiting[0]
            again = flow.parse_slice()
            self._waiting.popleft()
            if again:
                self._waiting.append(flow)
            if time.perf_counter() - begin > TURN_SECONDS:
                break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._parse)


class ReadFlow(FlowControl):
    """Keeps the bytes that a connection has received until they are parsed, and reads no more meanwhile.

    uvicorn pauses the reading while a body waits for the application, or a request for the answer of the
    one before it.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        turns: Turns,
        parse: Callable[[bytes], None],
        most: Callable[[], int],
    ) -> None:
        """`most` returns the most bytes that may be parsed at once."""
        super().__init__(transport)
        self._turns = turns
        self._parse = parse
        self._most = most
        self._rest = memoryview(b"")
        self._size = FIRST_BYTES
        self.has_turn = False
        """Whether received bytes wait to be parsed."""

    def pause_reading(self) -> None:
        """Called by uvicorn."""
        self.read_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Called by uvicorn."""
        if self.read_paused:
            self.read_paused = False
            self._wait_for_turn()

    def received(self, data: bytes) -> None:
        """Keeps what a connection has received until its turn."""
        self._rest = memoryview(bytes(self._rest) + data if self._rest else data)
        self._wait_for_turn()

    def close(self) -> None:
        """Drops what is kept."""
        self._rest = memoryview(b"")

    def _wait_for_turn(self) -> None:
        if not self.has_turn:
            self.has_turn = True
            self._turns.wait(self)

    def parse_slice(self) -> bool:
        """Parses some bytes; returns whether the connection needs another turn."""
        if self._rest and not self.read_paused:
            size = min(self._size, self._most())
            now, self._rest = self._rest[:size], self._rest[size:]
            begin = time.perf_counter()
            try:
                self._parse(bytes(now))
            except Exception:
                log.exception("a connection is closed: its bytes cannot be parsed")
                self.close()
                self._transport.abort()
            self._adapt(time.perf_counter() - begin)
        self.has_turn = bool(self._rest) and not self.read_paused
        if not self._transport.is_closing():
            # uvicorn may have resumed the transport itself.
            if self._rest or self.read_paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
        return self.has_turn

    def _adapt(self, seconds: float) -> None:
        if seconds > SLICE_SECONDS:
            self._size = max(LEAST_BYTES, self._size // 2)
        elif seconds < SLICE_SECONDS / 4:
            self._size = min(MOST_BYTES, self._size * 2)
