"""What a connection has received and does not parse yet, and the pauses of its reading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

SLICE_BYTES = 8 * 1024
"""Bytes that are parsed at once. A slice of one-byte chunks takes about 30 ms."""
TURN_SECONDS = 0.01
"""After this time, parsing goes on in the next turn of the event loop."""


class ReadFlow(FlowControl):
    """Passes received bytes on in slices, and reads no more while some are left.

    uvicorn pauses the reading while a body waits for the application, or a request for the answer of the
    one before it. What is already received stays here then.
    """

    def __init__(self, transport: asyncio.Transport, parse: Callable[[bytes], None]) -> None:
        super().__init__(transport)
        self._parse = parse
        self._rest = memoryview(b"")
        self._next: asyncio.Handle | None = None

    def pause_reading(self) -> None:
        """Called by uvicorn."""
        self.read_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Called by uvicorn."""
        if self.read_paused:
            self.read_paused = False
            self._later()

    def received(self, data: bytes) -> None:
        """Parses what a connection has received, or keeps it."""
        self._rest = memoryview(bytes(self._rest) + data if self._rest else data)
        if self._next is None:
            self._go_on()

    def close(self) -> None:
        """Drops what is left."""
        self._rest = memoryview(b"")
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _later(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._next = None
        begin = time.perf_counter()
        while self._rest and not self.read_paused:
            now, self._rest = self._rest[:SLICE_BYTES], self._rest[SLICE_BYTES:]
            self._parse(bytes(now))
            if self._rest and time.perf_counter() - begin > TURN_SECONDS:
                self._later()
                break
        # uvicorn may have resumed the transport itself.
        if self._transport.is_closing():
            return
        if self._rest or self.read_paused:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
