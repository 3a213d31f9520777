"""How a protocol carries the messages of a call."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import Message

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
