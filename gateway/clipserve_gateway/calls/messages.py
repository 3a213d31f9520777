"""The messages of one call, from the first to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator

from google.protobuf.message import Message

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.shared import Calls
from clipserve_gateway.calls.transport import Transport
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.byte_budget import Hold
from clipserve_gateway.flow.slow_callers import Sending
from clipserve_gateway.flow.stages import add_received, stage
from clipserve_gateway.process.arrivals import normalized_peer

ANSWER_FACTOR = 2
"""Bytes of memory for each byte of an answer while it is sent: ours and the transport's."""
QUICK_ANSWER_BYTES = 64 << 10
"""Answers up to this size go to the transport at once and are not watched."""
EXPECTED = "x-clipserve-bytes"
"""Optional header with the size of the call's message; a large message then waits before it is sent."""


class Messages:
    """The messages of one call, in order. Each holds its room in the byte budget until it is answered."""

    def __init__(self, calls: Calls, call: Call, method: Method, transport: Transport) -> None:
        self._calls = calls
        self._call = call
        self._method = method
        self._transport = transport
        self._expected = 0 if call.streaming else expected_bytes(call)
        self._holds: deque[Hold] = deque()
        self._sending: Sending | None = None
        self._answered = 0
        self._counted_as = ""
        self._closed = False

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        """The next message. Raises InvalidInput for bytes that are not a message."""
        with stage("receive"):
            data, hold = await self._calls.intake.read(
                self._call, self._transport, self._calls.deadline(self._call), self._expected
            )
        if data is None:
            raise StopAsyncIteration
        if self._closed:
            # A reader that is cancelled after its call ended may have got the room that it waited for.
            hold.release()
            raise StopAsyncIteration
        self._holds.append(hold)
        add_received(len(data))
        # The next one will probably be as large.
        self._expected = len(data)
        return await self._transport.parse(self._method.request, data)

    async def only(self) -> Message:
        """The message of a unary call; it holds its room until the current task has ended."""
        task = asyncio.current_task()
        assert task is not None, "calls are tasks"
        task.add_done_callback(self.close)
        self.enter()
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise InvalidInput("the call has no message") from None

    def enter(self) -> None:
        """Counts the call until it is closed. Raises Overloaded if its caller has too many."""
        caller, owner = self._call.caller, self._call.owner
        calls, streams = (caller.grant.calls, caller.grant.streams) if caller is not None else (0, 0)
        self._calls.intake.calls.enter(owner, stream=self._call.streaming, calls=calls, streams=streams)
        self._counted_as = owner

    def until_sent(self, data: bytes) -> bytes:
        """The only answer of the call; it takes the message's place in the budget."""
        self._answered = len(data)
        if self._holds:
            self._sending = self._begin(self._holds[0], data)
        return data

    @contextlib.contextmanager
    def sending(self, data: bytes) -> Iterator[None]:
        """An answer is being sent while inside; it takes the first message's place in the budget."""
        sending = self._begin(self._holds[0], data)
        self._calls.authorizer.charge_afterwards(self._call, len(data))
        try:
            yield
        finally:
            if sending is not None:
                self._calls.intake.slow.sent(sending)
            self._holds.popleft().release()

    def _begin(self, hold: Hold, data: bytes) -> Sending | None:
        hold.resize(len(data) * ANSWER_FACTOR)
        if len(data) <= QUICK_ANSWER_BYTES:
            return None
        return self._calls.intake.slow.send(normalized_peer(self._call.peer), len(data))

    def close(self, *_: object) -> None:
        """Releases all room and charges the caller. Takes the argument of a task's callback."""
        self._closed = True
        self._calls.authorizer.charge_afterwards(self._call, self._answered)
        if self._counted_as:
            self._calls.intake.calls.leave(self._counted_as, stream=self._call.streaming)
            self._counted_as = ""
        if self._sending is not None:
            self._calls.intake.slow.sent(self._sending)
        while self._holds:
            self._holds.pop().release()


def expected_bytes(call: Call) -> int:
    """The message's size as the caller announces it; 0 without a valid announcement."""
    value = call.header(EXPECTED)
    return int(value[:12]) if value.isascii() and value.isdigit() else 0
