"""Closes connections that send more headers than this server allows.

gRPC enforces its limit only for peers that have acknowledged its settings. Before that each call may have
16 MiB of headers, which take few bytes on the wire: 16 MB of calls took 2 GiB of memory. A gRPC client always
acknowledges.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc

from clipserve_gateway.process.arrivals import close_connection, connections, normalized_peer

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16_384
"""The limit of gRPC for peers that acknowledge it."""
ENTRY_BYTES = 32
"""Bytes that HTTP/2 counts for each header beside its name and value."""


class LargeHeaders(grpc.aio.ServerInterceptor):
    """Must be the first interceptor."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of the call, or one that closes the connection."""
        if not too_large(details.invocation_metadata or ()):
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(close)


def too_large(headers: Sequence[tuple[str, str | bytes]]) -> bool:
    """Whether the headers of a call exceed the limit of gRPC."""
    if len(headers) * ENTRY_BYTES > MAX_HEADER_BYTES:
        return True
    return sum(ENTRY_BYTES + len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES


async def close(requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    """Closes the connection with all its calls. On a Unix socket only the call ends."""
    peer = normalized_peer(context.peer())
    if (fd := connections().get(peer, -1)) >= 0:
        close_connection(fd, peer)
        log.warning(
            "%s sent more than %d bytes of headers: its connection was closed", peer, MAX_HEADER_BYTES
        )
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, f"the headers of the call exceed {MAX_HEADER_BYTES:,} bytes"
    )
    yield b""  # makes it a generator; never reached
