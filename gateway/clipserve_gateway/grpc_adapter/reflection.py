"""gRPC reflection, from the library's answers, within the bounds of open calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from clipserve_gateway.grpc_adapter.open_calls import OpenCalls, refuse

PAUSE_SECONDS = 30.0
"""Time between two requests of a stream, while no other call waits."""

Request: TypeAlias = reflection_pb2.ServerReflectionRequest


class ReflectionServicer:
    """Describes the services with these names, and itself."""

    def __init__(self, services: Sequence[str]) -> None:
        self._calls = OpenCalls(PAUSE_SECONDS)
        self._answers = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the method."""
        handler = grpc.stream_stream_rpc_method_handler(self.info)
        server.add_registered_method_handlers(reflection.SERVICE_NAME, {"ServerReflectionInfo": handler})

    async def info(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        """Answers one request after the other."""
        async with self._calls.call(context):
            while (request := await self._calls.read(Request, context)) is not None:
                try:
                    answers = [it async for it in self._answers.ServerReflectionInfo(one(request), context)]
                except (KeyError, TypeError, ValueError):
                    # What the library's look-ups raise for names and numbers that cannot be.
                    await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be answered")
                for answer in answers:
                    await self._calls.write(context, answer)


async def one(request: Request) -> AsyncIterator[Request]:
    """A stream of one request."""
    yield request
