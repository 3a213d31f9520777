"""Which calls a stop of the server waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc


class UnderWay(grpc.aio.ServerInterceptor):
    """Counts calls from their headers to the last byte of their answer, but for those of open services."""

    def __init__(self, *without: str) -> None:
        """`without`: paths of services, like `/grpc.health.v1.Health/`, whose calls are not waited for."""
        self._without = without
        self._calls: set[asyncio.Task] = set()
        self._none = asyncio.Event()
        self._none.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Counts the task that answers the call."""
        task = asyncio.current_task()
        if task is not None and not details.method.startswith(self._without):
            self._calls.add(task)
            self._none.clear()
            task.add_done_callback(self._ended)
        return await continuation(details)

    def _ended(self, task: asyncio.Task) -> None:
        self._calls.discard(task)
        if not self._calls:
            self._none.set()

    async def none(self) -> None:
        """Waits until there are none."""
        await self._none.wait()
