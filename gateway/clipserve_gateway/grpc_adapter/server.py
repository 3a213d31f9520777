"""The asyncio server of gRPC with the options of this gateway, and a fix for a fault of grpcio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import grpc
from grpc import aio
from grpc._cython import cygrpc

from clipserve_gateway.flow.stages import note_arrival
from clipserve_gateway.grpc_adapter.large_headers import LargeHeaders
from clipserve_gateway.process.loop_lag import LoopWaits
from clipserve_gateway.settings import Settings

log = logging.getLogger(__name__)

PENDING_CALLS = 20_000
"""Most calls that the gRPC core holds before this process accepts them."""
TAKEN_AT_ONCE = 32
"""Most calls of one method accepted in one turn of the event loop. Further calls wait in the gRPC core, where
this process sees neither their number nor their wait."""
IDENTITY_ONLY = 1
"""Bit set of compression algorithms: uncompressed messages only."""


def grpc_server(settings: Settings, interceptors: Sequence[aio.ServerInterceptor]) -> aio.Server:
    """A server with the options of the settings."""
    options = server_options(settings)
    interceptors = (LargeHeaders(), *interceptors)
    server = aio.server(interceptors=interceptors, options=options)
    if hasattr(cygrpc.AioServer, "_make_request_call_future"):
        # The core that it replaces has no port and has not been started.
        server._server = _Core(server._loop, None, (), tuple(interceptors), tuple(options), None)
    else:
        log.error(
            "this release of grpcio is not supported: a call with a path that is not UTF-8 stops the server"
        )
    return server


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Options of the gRPC core."""
    options = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # A connection that starts and resets calls fills the queue of the core. By default the core then
        # cancels calls of other callers at random, from 1,000 calls on.
        ("grpc.server.max_pending_requests", PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS),
        # Otherwise a second gateway on the same port would silently take half of the connections.
        ("grpc.so_reuseport", 0),
        # Further calls wait at the caller, where they take no memory of this process.
        ("grpc.max_concurrent_streams", settings.max_calls_per_caller),
        # Otherwise gRPC receives megabytes of a message before it is read.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_age_ms", settings.max_connection_age_seconds * 1000),
        ("grpc.max_connection_age_grace_ms", 60_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A peer that reads nothing cannot answer a ping: its connection ends and releases its memory.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
    if not settings.compressed_requests:
        # The core decompresses a message before it is counted: 60 kB on the wire may be 60 MB in memory.
        options.append(("grpc.compression_enabled_algorithms_bitset", IDENTITY_ONLY))
    return options


class _Core(cygrpc.AioServer):
    """Accepts the calls of each registered method, and of unknown methods, in its own loops.

    The loop of grpcio (1.85) decodes the path of a call to an unknown method as UTF-8. A path that is not
    UTF-8 raises an error there, which stops the server. Here the gRPC core finds the method, and the path of
    an unknown method is never decoded.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any) -> None:
        super().__init__(loop, *arguments)
        self._event_loop = loop
        self._waits = LoopWaits.of(loop)
        self._call_interceptors = arguments[2]
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._calls: set[asyncio.Task[None]] = set()

    def add_registered_method_handlers(self, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Registers methods by their paths."""
        super().add_registered_method_handlers(handlers)
        self._handlers |= handlers

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[list[None]]:
        """grpcio calls this once for each method (None: all unknown ones) and waits for the result."""
        return asyncio.gather(*(self._accept(method) for _ in range(TAKEN_AT_ONCE)))

    async def _accept(self, method: bytes | None) -> None:
        """Accepts calls until the server stops; then raises the error that grpcio expects."""
        path = method.decode() if method else "unknown"
        handlers = cygrpc._MethodResolver([], self._handlers if method else {})
        while True:
            state = await (self._request_registered_call(method) if method else self._request_call())
            note_arrival(self._waits.came())
            answering = cygrpc._handle_rpc(
                path, handlers, self._call_interceptors, state, self._event_loop, False
            )
            call = cygrpc._schedule_rpc_coro(answering, state, self._event_loop, path)
            task = self._event_loop.create_task(call)
            # The event loop holds only weak references to tasks.
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
