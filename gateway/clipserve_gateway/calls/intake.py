"""Reads the messages of calls into the byte budget. A message keeps its room until it is answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator

from google.protobuf.message import Message

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.transport import Transport
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.byte_budget import SMALL_BYTES, ByteBudget, Hold
from clipserve_gateway.flow.call_limits import CallLimits
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.slow_callers import Reading, Sending, SlowCallers
from clipserve_gateway.flow.stages import add_received, stage
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.arrivals import normalized_peer
from clipserve_gateway.process.off_loop import BYTES_ON_LOOP
from clipserve_gateway.settings import Settings

WORK_FACTOR = 3
"""Bytes of memory for each byte of a message during work: as received, parsed, and processed."""
ANSWER_FACTOR = 2
"""Bytes of memory for each byte of an answer while it is sent: ours and the transport's."""
FIELD_BYTES = 32
"""Most bytes on the wire of a header field beside its name and value."""
CALL_BYTES = 256
"""Most bytes on the wire of a call beside its header fields and messages."""
QUICK_ANSWER_BYTES = 64 << 10
"""Answers up to this size go to the transport at once and are not watched."""
EXPECTED = "x-clipserve-bytes"
"""Header with the size of the call's message, optional. A large message then waits before it is sent."""


class Intake:
    """Reads the messages of all calls of one gateway.

    Args:
        largest: bytes of the largest message.
        unsized: whether a message may be larger than what its connection receives, as compressed ones are.
            Each message then needs room for the largest one before it is read.
    """

    def __init__(
        self,
        budget: ByteBudget,
        slow: SlowCallers,
        calls: CallLimits,
        largest: int,
        *,
        unsized: bool = False,
    ) -> None:
        self.budget = budget
        self.slow = slow
        self.calls = calls
        self._largest = largest
        self._unsized = unsized

    async def read(
        self, call: Call, transport: Transport, deadline: Deadline, expected: int = 0
    ) -> tuple[bytes | None, Hold]:
        """The next message, None after the last one, and its room, which the caller must release.

        Raises Overloaded if there is no room for it, or if it arrives too slowly while others wait.
        """
        peer, owner = normalized_peer(call.peer), call.owner
        hold = None
        if self._unsized or expected > SMALL_BYTES:
            self.slow.wait_before(peer, 1)
            try:
                room = self._largest if self._unsized else min(expected, self._largest)
                hold = await self.budget.hold(room, owner, deadline)
            finally:
                self.slow.wait_before(peer, -1)
        task = asyncio.current_task()
        assert task is not None, "this runs in a task"
        reading = Reading(peer, owner, task, hold)
        self.slow.begin(reading)
        size: int | None = None
        try:
            data = await transport.receive()
            size = len(data or b"")
        except asyncio.CancelledError:
            if reading.ended is None:
                raise
            # SlowCallers cancelled this task to end the reading.
            getattr(task, "uncancel", int)()
            raise reading.ended from None
        finally:
            self.slow.end(reading, None if size is None else size + size // 64 + header_bytes(call))
            hold = reading.hold
            if hold is not None and not size:
                hold.release()
        if hold is None:
            hold = self.budget.must_hold(size, owner)
        else:
            hold.resize(size)
        try:
            await hold.grow(size * WORK_FACTOR, deadline)
        except BaseException:
            hold.release()
            raise
        return data, hold


class Messages:
    """The messages of one call, in order. Each holds its room until it is answered.

    Args:
        parse: makes a message of its bytes.
        deadline: until when to wait for room.
        charge: takes the bytes of an answer, and charges the caller for the answer and its work.
        expected: bytes of the first message, as the caller announces them; 0 if unknown.
    """

    def __init__(
        self,
        intake: Intake,
        call: Call,
        transport: Transport,
        parse: Callable[[bytes], Message],
        deadline: Callable[[], Deadline],
        charge: Callable[[int], None],
        expected: int = 0,
    ) -> None:
        self._intake = intake
        self._call = call
        self._transport = transport
        self._parse = parse
        self._deadline = deadline
        self._charge = charge
        self._expected = expected
        self._holds: deque[Hold] = deque()
        self._sending: Sending | None = None
        self._answered = 0
        self._counted_as = ""

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        """The next message. Raises InvalidInput for bytes that are not a message."""
        with stage("receive"):
            data, hold = await self._intake.read(
                self._call, self._transport, self._deadline(), self._expected
            )
        if data is None:
            raise StopAsyncIteration
        self._holds.append(hold)
        add_received(len(data))
        # The next one will probably be as large.
        self._expected = len(data)
        if len(data) <= BYTES_ON_LOOP:
            return self._parse(data)
        return await asyncio.to_thread(self._parse, data)

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
        self._intake.calls.enter(owner, stream=self._call.streaming, calls=calls, streams=streams)
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
        self._charge(len(data))
        try:
            yield
        finally:
            if sending is not None:
                self._intake.slow.sent(sending)
            self._holds.popleft().release()

    def _begin(self, hold: Hold, data: bytes) -> Sending | None:
        hold.resize(len(data) * ANSWER_FACTOR)
        if len(data) <= QUICK_ANSWER_BYTES:
            return None
        return self._intake.slow.send(normalized_peer(self._call.peer), len(data))

    def close(self, *_: object) -> None:
        """Releases all room and charges the caller. Takes the argument of a task's callback."""
        self._charge(self._answered)
        if self._counted_as:
            self._intake.calls.leave(self._counted_as, stream=self._call.streaming)
            self._counted_as = ""
        if self._sending is not None:
            self._intake.slow.sent(self._sending)
        while self._holds:
            self._holds.pop().release()


def intake_of(settings: Settings, metrics: Metrics) -> Intake:
    """The intake of a gateway with these settings."""
    budget = ByteBudget(settings.max_held_bytes, metrics.held_bytes.set)
    largest = settings.max_message_bytes
    calls = CallLimits(settings.max_calls_per_caller, settings.max_streams_per_caller)
    slow = SlowCallers(budget, largest)
    return Intake(budget, slow, calls, largest, unsized=settings.compressed_requests)


def header_bytes(call: Call) -> int:
    """Most bytes on the wire of a call's headers."""
    return CALL_BYTES + sum(len(name) + len(value) + FIELD_BYTES for name, value in call.metadata)


def expected_bytes(call: Call) -> int:
    """The message's size as the caller announces it; 0 without a valid announcement."""
    value = call.header(EXPECTED)
    return int(value[:12]) if value.isascii() and value.isdigit() else 0
