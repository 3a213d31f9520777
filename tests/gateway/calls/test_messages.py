"""The messages of calls hold room in the byte budget exactly as long as they need it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from clipserve.v1 import clip_pb2
from clipserve_gateway.access.call import Call
from clipserve_gateway.assembly import Parts, assemble
from clipserve_gateway.settings import Settings

from testing.direct_calls import QueueTransport, method_named
from testing.fakes import FakeBackend

MIB = 1 << 20


def batch(**input: object) -> clip_pb2.EmbedStreamRequest:
    message = clip_pb2.EmbedStreamRequest(batch_id=1)
    message.request.inputs.add(**input)  # type: ignore[arg-type]
    return message


async def answers(parts: Parts, transport: QueueTransport, number: int) -> AsyncIterator[bytes]:
    """A stream, as an adapter runs it."""
    method = method_named(parts, "EmbedStream")
    call = Call(method.name, f"ipv4:127.0.0.1:{number}", [], None, streaming=True)
    stream = contextlib.aclosing(parts.runner.answers(call, method, transport))
    async with parts.runner.running(call), stream as each:
        async for answer in each:
            yield answer


async def until(condition) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), 10)


async def test_streams_that_are_dropped_while_they_wait_for_room_leave_none_held(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), max_held_bytes=64 * MIB, max_message_bytes=8 * MIB)
    parts = assemble(settings, FakeBackend())
    await parts.models.refresh()
    streams = []
    for number in range(6):
        transport = QueueTransport(batch(text="x"))
        stream = answers(parts, transport, number)
        await anext(stream)
        # Its first answer is being sent; the next message is larger than what is left for all of them.
        transport.messages.put_nowait(batch(image={"content": bytes(6 * MIB)}))
        streams.append(stream)
    budget = parts.intake.budget
    await until(lambda: budget.used > 30 * MIB)
    for stream in streams:
        await stream.aclose()
    await until(lambda: budget.used == 0)
