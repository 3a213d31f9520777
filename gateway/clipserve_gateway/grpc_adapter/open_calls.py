"""Limits calls that need no token (health, reflection): small requests, few received at once, bounded waits.

gRPC delivers a message only when all of it has arrived, and one size limit applies to all methods. Therefore
a message is received only in a turn. There are few turns, a connection has one at a time, connections take
turns in order, and a slow sender loses its turn as soon as another call waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)

MAX_REQUEST_BYTES = 1024
"""Most bytes of one message."""
TURNS = 1
"""Messages received at the same time."""
TURN_SECONDS = 0.1
"""Seconds that every sender has. A small message arrives together with its call."""
BUSY_TURN_SECONDS = 1.0
"""The same while this process is short of CPU time: a message may have arrived and not been seen."""
WRITE_SECONDS = 5.0
"""Seconds that a caller has to read an answer."""
CALLS_PER_CONNECTION = 64
"""Most calls of one service on one connection, including those that do not proceed."""


class OpenCalls:
    """Receives and answers the calls of one service. Belongs to one event loop."""

    def __init__(self, longest_turn_seconds: float) -> None:
        """`longest_turn_seconds`: most seconds for a message to arrive while no other call waits."""
        self._longest_turn = longest_turn_seconds
        self._calls: Counter[str] = Counter()
        """Calls by connection."""
        self._turns = 0
        self._receiving: set[str] = set()
        """Connections of which gRPC is receiving a message."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Calls that wait for a turn, by connection; the first connection is next."""
        self._wanted = asyncio.Event()
        """Set while a call waits for a turn."""

    @contextlib.asynccontextmanager
    async def call(self, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Counts a call while inside; RESOURCE_EXHAUSTED if its connection has too many."""
        peer = context.peer()
        if self._calls[peer] >= CALLS_PER_CONNECTION:
            await refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"this connection has {CALLS_PER_CONNECTION} calls of this service in progress; end some",
            )
        self._calls[peer] += 1
        try:
            yield
        finally:
            self._calls[peer] -= 1
            if not self._calls[peer]:
                del self._calls[peer]

    async def read(self, kind: type[M], context: grpc.aio.ServicerContext) -> M | None:
        """The caller's next message, or None after its last.

        Ends the call with RESOURCE_EXHAUSTED if the message is large or slow, INVALID_ARGUMENT if malformed.
        """
        data = await self._receive(context)
        if data is None:
            return None
        if len(data) > MAX_REQUEST_BYTES:
            size, data = len(data), b""
            await refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"the request has {size:,} bytes; the limit is {MAX_REQUEST_BYTES:,}",
            )
        try:
            return kind.FromString(data)
        except DecodeError:
            name = kind.DESCRIPTOR.full_name
        return await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"the request is not a {name} message")

    async def _receive(self, context: grpc.aio.ServicerContext) -> bytes | None:
        """The bytes of the next message; None after the last one."""
        peer = context.peer()
        await self._turn(peer)
        reading = asyncio.ensure_future(context.read())
        reading.add_done_callback(functools.partial(self._received, peer))
        wanted = asyncio.ensure_future(self._wanted.wait())
        try:
            if not await self._arrives(reading):
                first = asyncio.FIRST_COMPLETED
                await asyncio.wait({reading, wanted}, timeout=self._longest_turn, return_when=first)
        finally:
            wanted.cancel()
            self._turns -= 1
            self._give_turns()
        if not reading.done():
            await refuse(context, grpc.StatusCode.RESOURCE_EXHAUSTED, "the request did not arrive in time")
        data = reading.result()
        return None if data is grpc.aio.EOF else data

    async def _arrives(self, reading: asyncio.Future[Any]) -> bool:
        """Whether a message arrives within the time that each sender has."""
        loop = asyncio.get_running_loop()
        end = loop.time() + BUSY_TURN_SECONDS
        late = True
        while late and not reading.done():
            begin = loop.time()
            await asyncio.wait({reading}, timeout=TURN_SECONDS)
            late = begin + 2 * TURN_SECONDS < loop.time() < end
        return reading.done()

    async def _turn(self, peer: str) -> None:
        """Waits for a turn and takes it."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(peer, deque()).append(mine)
        self._give_turns()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._forget(peer, mine)
            else:
                self._turns -= 1
                self._receiving.discard(peer)
            self._give_turns()
            raise

    def _forget(self, peer: str, waiter: asyncio.Future[None]) -> None:
        queue = self._waiting.get(peer, deque())
        if waiter in queue:
            queue.remove(waiter)
            if not queue:
                del self._waiting[peer]

    def _give_turns(self) -> None:
        while self._turns < TURNS:
            peer = next((each for each in self._waiting if each not in self._receiving), None)
            if peer is None:
                break
            queue = self._waiting.pop(peer)
            waiter = queue.popleft()
            if queue:
                self._waiting[peer] = queue
            if not waiter.done():
                waiter.set_result(None)
                self._turns += 1
                self._receiving.add(peer)
        if self._waiting:
            self._wanted.set()
        else:
            self._wanted.clear()

    def _received(self, peer: str, reading: asyncio.Future[Any]) -> None:
        self._receiving.discard(peer)
        if not reading.cancelled():
            # Retrieve the exception so that asyncio does not warn.
            reading.exception()
        self._give_turns()

    async def write(
        self, context: grpc.aio.ServicerContext, message: Message, stalled: Callable[[], None] = lambda: None
    ) -> None:
        """Sends a message. If the caller does not read it in time, calls `stalled` and ends the call later.

        A server cannot reset a call with grpcio: a call that is not read lasts until its connection ends.
        """
        writing = asyncio.ensure_future(context.write(message.SerializeToString()))
        try:
            done, _ = await asyncio.wait({writing}, timeout=WRITE_SECONDS)
            if not done:
                stalled()
                await asyncio.wait({writing})
        except asyncio.CancelledError:
            writing.cancel()
            raise
        writing.result()
        if not done:
            await refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, "the answer was not read in time")


async def refuse(context: grpc.aio.ServicerContext, code: grpc.StatusCode, details: str) -> NoReturn:
    """Ends the call with a status; never returns."""
    await context.abort(code, details)
    raise AssertionError("abort raises")
