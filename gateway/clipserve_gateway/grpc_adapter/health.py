"""grpc.health.v1. No caller can delay a status change or another caller."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2

from clipserve_gateway.grpc_adapter.open_calls import OpenCalls, refuse

CALLS_SERVICE = "clipserve.calls"
"""Service name that is SERVING while the gateway accepts calls, with or without a model. The SDK watches it.

It is NOT_SERVING until the gateway has looked for models: a new gateway would refuse calls that others can
serve."""
MODEL_SERVICE = "clipserve.model."
"""Prefix of the service names of models."""
RECEIVE_SECONDS = 5.0
"""Most seconds for a request to arrive."""
WATCHES = 4096
"""Most watches that get status changes."""
WATCHES_PER_CONNECTION = 32

Status: TypeAlias = health_pb2.HealthCheckResponse.ServingStatus


class _Watch:
    """One caller of Watch."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.changed = asyncio.Event()


class HealthServicer:
    """The status of each service name. Belongs to one event loop.

    A watch has no queue: it sends the status at the time when its caller can receive it.
    """

    def __init__(self) -> None:
        self._calls = OpenCalls(RECEIVE_SECONDS)
        self._statuses: dict[str, Status] = {}
        self._watches: dict[str, set[_Watch]] = {}
        """By service name; without watches that do not read."""
        self._watching = 0
        self._peers: Counter[str] = Counter()
        """Number of watches by connection, including those that do not read."""
        self._stopping = False
        self._closed = False

    def add_to(self, server: grpc.aio.Server) -> None:
        """Registers the methods at the server."""
        server.add_registered_method_handlers(
            health.SERVICE_NAME,
            {
                # The handler of a stream decides when a message is received. The wire format is the same.
                "Check": grpc.stream_stream_rpc_method_handler(self.check),
                "Watch": grpc.stream_stream_rpc_method_handler(self.watch),
            },
        )

    def set(self, service: str, serving: bool) -> None:
        """Changes a status and notifies its watches. Has no effect once the server is stopping."""
        if not self._stopping:
            self._set(service, Status.SERVING if serving else Status.NOT_SERVING)

    def forget(self, service: str) -> None:
        """Makes a name unknown again, and notifies its watches."""
        if self._statuses.pop(service, None) is not None:
            self._wake(service)

    def _set(self, service: str, status: Status) -> None:
        if self._statuses.get(service) != status:
            self._statuses[service] = status
            self._wake(service)

    def _wake(self, service: str) -> None:
        for watch in self._watches.get(service, ()):
            watch.changed.set()

    def shut_down(self) -> None:
        """Sets every status to NOT_SERVING for good. Does not wait."""
        self._stopping = True
        for service in self._statuses:
            self._set(service, Status.NOT_SERVING)

    def close(self) -> None:
        """Ends all watches."""
        self._closed = True
        for service in self._watches:
            self._wake(service)

    async def _service(self, context: grpc.aio.ServicerContext) -> str:
        request = await self._calls.read(health_pb2.HealthCheckRequest, context)
        if request is None:
            await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the call has no request")
        return request.service

    async def check(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        """Returns the current status; NOT_FOUND for an unknown name."""
        async with self._calls.call(context):
            status = self._statuses.get(await self._service(context))
            if status is None:
                await refuse(context, grpc.StatusCode.NOT_FOUND, "unknown service name")
            await self._calls.write(context, health_pb2.HealthCheckResponse(status=status))

    async def watch(self, _: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:
        """Sends the current status and each change; SERVICE_UNKNOWN while the name is unknown."""
        async with self._calls.call(context):
            service, peer = await self._service(context), context.peer()
            if self._watching >= WATCHES or self._peers[peer] >= WATCHES_PER_CONNECTION:
                # With any other code a gRPC client holds its calls back until it can watch.
                await refuse(
                    context, grpc.StatusCode.UNIMPLEMENTED, "too many watches; make calls without one"
                )
            watch = _Watch(peer)
            self._watches.setdefault(service, set()).add(watch)
            self._watching += 1
            self._peers[peer] += 1
            try:
                await self._tell(service, watch, context)
            finally:
                self._drop(service, watch)
                self._peers[peer] -= 1
                if not self._peers[peer]:
                    del self._peers[peer]

    async def _tell(self, service: str, watch: _Watch, context: grpc.aio.ServicerContext) -> None:
        sent: Status | None = None
        while not self._closed:
            watch.changed.clear()
            status = self._statuses.get(service, Status.SERVICE_UNKNOWN)
            if status != sent:
                answer = health_pb2.HealthCheckResponse(status=status)
                await self._calls.write(context, answer, lambda: self._drop(service, watch))
                sent = status
            else:
                await watch.changed.wait()
        await refuse(context, grpc.StatusCode.UNAVAILABLE, "the server is stopping")

    def _drop(self, service: str, watch: _Watch) -> None:
        watches = self._watches.get(service, set())
        if watch in watches:
            watches.discard(watch)
            self._watching -= 1
            if not watches:
                del self._watches[service]
