"""gRPC reflection, with the answers of the library and the limits of OpenCalls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TypeAlias

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from clipserve_gateway.grpc_adapter.open_calls import OpenCalls, refuse

PAUSE_SECONDS = 30.0
"""Most seconds between two requests of a stream while no other call waits."""

Request: TypeAlias = reflection_pb2.ServerReflectionRequest


class ReflectionServicer:
    """Describes the services with these names, and the reflection service."""

    def __init__(self, services: Sequence[str]) -> None:
        self._calls = OpenCalls(PAUSE_SECONDS)
        self._answers = reflection.aio.ReflectionServicer((*services, reflection.SERVICE_NAME))

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the method at the server."""
        handler = grpc.stream_stream_rpc_method_handler(self.info)
        server.add_registered_method_handlers(reflection.SERVICE_NAME, {"ServerReflectionInfo": handler})

    async def info(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        """Answers the requests of a stream one after the other."""
        async with self._calls.call(context):
            while (request := await self._calls.read(Request, context)) is not None:
                try:
                    replies = self._answers.ServerReflectionInfo(single(request), context)
                    answers = [answer async for answer in replies]
                except (KeyError, TypeError, ValueError):
                    # The library raises these for impossible names and numbers.
                    await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be answered")
                for answer in answers:
                    await self._calls.write(context, answer)


async def single(request: Request) -> AsyncIterator[Request]:
    """A stream of one request."""
    yield request
