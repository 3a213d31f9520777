"""Ends connections that send more headers than this server allows.

gRPC holds its limit only against peers that have acknowledged its settings. Until then each call may bring
16 MiB of headers, which take a few bytes on the wire: 16 MB of calls took 2 GiB here. A peer that never
acknowledges is no gRPC client.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import grpc

from clipserve_gateway.process.arrivals import close_connection, connections, normalized_peer

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 16_384
"""gRPC's own limit, against peers that acknowledge it."""
ENTRY_BYTES = 32
"""What HTTP/2 counts for each header beside its name and value."""


class LargeHeaders(grpc.aio.ServerInterceptor):
    """Comes before all other interceptors."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The call's handler, or one that ends the call and its connection."""
        if not too_large(details.invocation_metadata or ()):
            return await continuation(details)
        return grpc.stream_stream_rpc_method_handler(end)


def too_large(headers: Sequence[tuple[str, str | bytes]]) -> bool:
    """Whether a call's headers are more than gRPC lets through when its limit holds."""
    if len(headers) * ENTRY_BYTES > MAX_HEADER_BYTES:
        return True
    return sum(ENTRY_BYTES + len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES


async def end(requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    """Ends the connection with all its calls; those that are behind a socket file lose the call alone."""
    peer = normalized_peer(context.peer())
    if (fd := connections().get(peer, -1)) >= 0:
        close_connection(fd, peer)
        log.warning("%s sent more than %d bytes of headers: its connection was ended", peer, MAX_HEADER_BYTES)
    await context.abort(
        grpc.StatusCode.RESOURCE_EXHAUSTED, f"a call may have {MAX_HEADER_BYTES:,} bytes of headers"
    )
    yield b""  # which makes it a stream; nothing gets here
