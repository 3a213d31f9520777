"""How HTTP carries the two messages of a call: as the bodies of one request and its answer."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from google.protobuf.message import Message

from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.runner import Outcome
from clipserve_gateway.calls.transport import parse_protobuf, protobuf_bytes
from clipserve_gateway.convert.status import Code
from clipserve_gateway.http_adapter.body import Body
from clipserve_gateway.http_adapter.errors import connect_error, http_status, status_of
from clipserve_gateway.types import Limits

M = TypeVar("M", bound=Message)
R = TypeVar("R")

JSON = "application/json"
PROTO = "application/proto"
BYTES_ON_LOOP = 8 << 10
"""Reading or writing this much JSON takes 15 ms at most."""


class JsonThread:
    """Reads and writes large JSON in a thread: one at a time, since each more would delay the event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="json")

    async def run(self, size: int, work: Callable[[], R]) -> R:
        """The result of `work()`, which reads or writes `size` bytes."""
        if size <= BYTES_ON_LOOP:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class HttpTransport(abc.ABC):
    """Carries the messages of one call. Each form of the bodies has a subclass."""

    media_type = JSON
    """Content type of the answer."""

    def __init__(self, body: Body, method: Method, limits: Limits, thread: JsonThread) -> None:
        self.body = body
        self.method = method
        self.limits = limits
        self.thread = thread

    def failure(self, outcome: Outcome) -> tuple[int, bytes]:
        """The HTTP status and the body, in JSON, of a failed call."""
        code = Code[outcome.code]
        return http_status(code, outcome.failure), connect_error(code, status_of(outcome))

    async def receive(self) -> bytes | None:
        """See Transport."""
        return await self.body.read()

    @abc.abstractmethod
    async def parse(self, kind: type[M], data: bytes) -> M:
        """See Transport."""

    @abc.abstractmethod
    async def encode(self, answer: Message | bytes) -> bytes:
        """See Transport."""


class ProtoTransport(HttpTransport):
    """Messages in protobuf's encoding."""

    media_type = PROTO

    async def parse(self, kind: type[M], data: bytes) -> M:
        """See Transport."""
        return await parse_protobuf(kind, data, self.limits)

    async def encode(self, answer: Message | bytes) -> bytes:
        """See Transport."""
        return protobuf_bytes(answer)


class JsonTransport(HttpTransport):
    """Messages as JSON. Subclasses give it other forms than protobuf's."""

    @abc.abstractmethod
    def read(self, kind: type[M], data: bytes) -> M:
        """The message in a body. Raises InvalidInput. Runs in a thread for large bodies."""

    @abc.abstractmethod
    def write(self, answer: Message | bytes) -> bytes:
        """The body of an answer: a message, or its bytes. Runs in a thread for large answers."""

    async def parse(self, kind: type[M], data: bytes) -> M:
        """See Transport."""
        return await self.thread.run(len(data), lambda: self.read(kind, data))

    async def encode(self, answer: Message | bytes) -> bytes:
        """See Transport."""
        size = len(answer) if isinstance(answer, bytes) else answer.ByteSize()
        return await self.thread.run(size, lambda: self.write(answer))
