"""How messages of calls are read: with room in the byte budget, which they keep until they are answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from clipserve_gateway.access.authorizer import settle
from clipserve_gateway.access.caller import current
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
"""Bytes of memory to a byte of a message while it is worked on: as it came, parsed, and made use of."""
ANSWER_FACTOR = 2
"""Bytes of memory to a byte of an answer while it is sent: ours, and gRPC's."""
FIELD_BYTES = 32
CALL_BYTES = 256
"""What a header field, and a call, take on the wire beside their names and values, at most."""
QUICK_ANSWER_BYTES = 64 << 10
"""Answers of no more are with gRPC at once, and are not looked after."""
EXPECTED = "x-clipserve-bytes"
"""Header in which a caller may say how large its message is; then a large one waits before it is sent."""

Context: TypeAlias = grpc.aio.ServicerContext


class Intake:
    """Reads the messages of all calls of one gateway.

    Args:
        unsized: whether a message may be larger than what its connection receives, as compressed ones are.
            Then each needs room for the largest one before it is read.
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

    async def read(self, context: Context, deadline: Deadline, expected: int = 0) -> tuple[Any, Hold]:
        """The next message, as bytes, or grpc.aio.EOF; and the room that it holds, to be released.

        Raises Overloaded where there is no room for it, or it came too slowly while others waited.
        """
        peer, owner = normalized_peer(context.peer()), owner_of(context)
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
            data = await context.read()
            size = 0 if data is grpc.aio.EOF else len(data)
        except asyncio.CancelledError:
            if reading.ended is None:
                raise
            # We ourselves did it, to end the reading.
            getattr(task, "uncancel", int)()
            raise reading.ended from None
        finally:
            self.slow.end(reading, None if size is None else size + size // 64 + header_bytes(context))
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
    """The messages of one call, in order, each with the room that it holds until it is answered.

    Args:
        parse: makes a message of its bytes.
        deadline: until when to wait for room.
        expected: bytes that the first message may have, as far as its caller tells.
    """

    def __init__(
        self,
        intake: Intake,
        context: Context,
        parse: Callable[[bytes], Message],
        deadline: Callable[[], Deadline],
        expected: int = 0,
    ) -> None:
        self._intake = intake
        self._context = context
        self._parse = parse
        self._deadline = deadline
        self._expected = expected
        self._holds: deque[Hold] = deque()
        self._sending: Sending | None = None
        self._answered = 0
        self._entered: tuple[str, bool] | None = None

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        """The next message; InvalidInput for bytes that are none."""
        with stage("receive"):
            data, hold = await self._intake.read(self._context, self._deadline(), self._expected)
        if data is grpc.aio.EOF:
            raise StopAsyncIteration
        self._holds.append(hold)
        add_received(len(data))
        # The next one will probably be as large.
        self._expected = len(data)
        if len(data) <= BYTES_ON_LOOP:
            return self._parse(data)
        return await asyncio.to_thread(self._parse, data)

    async def only(self) -> Message:
        """The message of a call that has one; its room is held until the call's task has ended."""
        task = asyncio.current_task()
        assert task is not None, "calls are tasks"
        task.add_done_callback(self.close)
        self.enter(stream=False)
        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise InvalidInput("the call has no message") from None

    def enter(self, *, stream: bool) -> None:
        """Counts the call until it is closed; Overloaded where its caller has too many."""
        owner, caller = owner_of(self._context), current.get()
        calls, streams = (caller.grant.calls, caller.grant.streams) if caller is not None else (0, 0)
        self._intake.calls.enter(owner, stream=stream, calls=calls, streams=streams)
        self._entered = owner, stream

    def until_sent(self, data: bytes) -> bytes:
        """The call's only answer, which takes the message's place in the budget."""
        self._answered = len(data)
        if self._holds:
            self._sending = self._begin(self._holds[0], data)
        return data

    @contextlib.contextmanager
    def sending(self, data: bytes) -> Iterator[None]:
        """While inside, an answer is sent, which takes the first message's place in the budget."""
        sending = self._begin(self._holds[0], data)
        settle(len(data))
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
        return self._intake.slow.send(normalized_peer(self._context.peer()), len(data))

    def close(self, *_: object) -> None:
        """Gives back all room, and has the caller pay; takes what callbacks are given."""
        settle(self._answered)
        if self._entered is not None:
            owner, stream = self._entered
            self._entered = None
            self._intake.calls.leave(owner, stream=stream)
        if self._sending is not None:
            self._intake.slow.sent(self._sending)
        while self._holds:
            self._holds.pop().release()


def intake_of(settings: Settings, metrics: Metrics) -> Intake:
    """As the settings want it."""
    budget = ByteBudget(settings.max_held_bytes, metrics.held_bytes.set)
    largest = settings.max_message_bytes
    calls = CallLimits(settings.max_calls_per_caller, settings.max_streams_per_caller)
    slow = SlowCallers(budget, largest)
    return Intake(budget, slow, calls, largest, unsized=settings.compressed_requests)


def owner_of(context: Context) -> str:
    """Who large holds belong to: the token, or the connection where there is none."""
    caller = current.get()
    return f"token {caller.grant.name}" if caller is not None else str(context.peer())


def header_bytes(context: Context) -> int:
    """What the headers of a call have taken on the wire, at most."""
    return CALL_BYTES + sum(
        len(name) + len(value) + FIELD_BYTES for name, value in context.invocation_metadata() or ()
    )


def expected_bytes(metadata: Iterable[tuple[str, str | bytes]] | None) -> int:
    """How large the caller says that its message is; 0 where it says nothing that counts."""
    for name, value in metadata or ():
        if name == EXPECTED and isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value[:12])
    return 0
