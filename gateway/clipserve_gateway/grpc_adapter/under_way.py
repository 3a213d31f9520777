"""Counts the calls that a stop of the server waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc


class UnderWay(grpc.aio.ServerInterceptor):
    """Counts calls from their headers to the last byte of their answer."""

    def __init__(self, *without: str) -> None:
        """`without`: paths of services whose calls are not counted, e.g. `/grpc.health.v1.Health/`."""
        self._without = without
        self._calls: set[asyncio.Task] = set()
        self._none = asyncio.Event()
        self._none.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Counts the task that serves the call."""
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
        """Waits until no call is in progress."""
        await self._none.wait()
