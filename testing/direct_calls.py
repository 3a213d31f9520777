"""Calls that tests run without a protocol's adapter: protobuf messages from a queue."""

from __future__ import annotations

import asyncio

from clipserve_gateway.assembly import Parts
from clipserve_gateway.calls.method import Method
from google.protobuf.message import Message


class QueueTransport:
    """Carries the messages that the test puts into its queue."""

    def __init__(self, *messages: Message) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self.messages.put_nowait(message)

    async def receive(self) -> bytes:
        return (await self.messages.get()).SerializeToString()

    async def parse(self, kind: type[Message], data: bytes) -> Message:
        return kind.FromString(data)

    async def encode(self, answer: Message | bytes) -> bytes:
        return answer if isinstance(answer, bytes) else answer.SerializeToString()


def method_named(parts: Parts, name: str) -> Method:
    """The method of a gateway that is not listening."""
    [method] = [method for method in parts.methods if method.name == name]
    return method
