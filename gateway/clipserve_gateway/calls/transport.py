"""How a protocol carries the messages of a call."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from clipserve_gateway.convert.wire import parse_message
from clipserve_gateway.process.off_loop import BYTES_ON_LOOP
from clipserve_gateway.types import Limits

M = TypeVar("M", bound=Message)


class Transport(Protocol):
    """Carries the messages of one call. Each protocol has one implementation."""

    async def receive(self) -> bytes | None:
        """The bytes of the next message; None after the last one."""
        ...

    async def parse(self, kind: type[M], data: bytes) -> M:
        """The message in these bytes; large ones are parsed in a thread. Raises InvalidInput."""
        ...

    async def encode(self, answer: Message | bytes) -> bytes:
        """The bytes of an answer. A handler returns large answers already encoded by protobuf."""
        ...


async def parse_protobuf(kind: type[M], data: bytes, limits: Limits) -> M:
    """The message in protobuf's encoding. Raises InvalidInput; LimitExceeded for too many fields."""
    if len(data) <= BYTES_ON_LOOP:
        return parse_message(kind, data, limits)
    return await asyncio.to_thread(parse_message, kind, data, limits)


def protobuf_bytes(answer: Message | bytes) -> bytes:
    """An answer in protobuf's encoding."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
