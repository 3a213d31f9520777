"""Reads messages into the byte budget, and ends slow ones while others wait."""

from __future__ import annotations

import asyncio

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.transport import Transport
from clipserve_gateway.flow.byte_budget import SMALL_BYTES, ByteBudget, Hold
from clipserve_gateway.flow.call_limits import CallLimits
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.slow_callers import Reading, SlowCallers
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.arrivals import normalized_peer
from clipserve_gateway.settings import Settings

WORK_FACTOR = 3
"""Bytes of memory for each byte of a message during work: as received, parsed, and processed."""
FIELD_BYTES = 32
"""Most bytes on the wire of a header field beside its name and value."""
CALL_BYTES = 256
"""Most bytes on the wire of a call beside its header fields and messages."""


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
