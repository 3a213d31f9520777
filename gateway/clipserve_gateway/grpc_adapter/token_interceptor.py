"""Requires a token for the calls that the CallRunner does not run: reflection and unknown methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health

from clipserve_gateway.access.token_gate import TokenGate
from clipserve_gateway.convert.status import code_of, rpc_status, trailers
from clipserve_gateway.errors import Unauthenticated
from clipserve_gateway.metrics import Metrics

API = "/clipserve.v1."
OPEN = f"/{health.SERVICE_NAME}/"
"""Load balancers and operators may ask for health without a token."""


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without a valid token before any message is read."""

    def __init__(self, gate: TokenGate, metrics: Metrics) -> None:
        self._gate = gate
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of the call, or one that refuses it. An unknown method has none, even of the API."""
        handler = await continuation(details)
        if details.method.startswith(OPEN) or (handler is not None and details.method.startswith(API)):
            return handler
        try:
            self._gate.authenticate(details.invocation_metadata or ())
            return handler
        except Unauthenticated as error:
            self._metrics.rejected.labels(error.reason.lower()).inc()
            return refusal(error)


def refusal(error: Unauthenticated) -> grpc.RpcMethodHandler:
    """A handler that ends the call with the error and reads no message."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        status = rpc_status(error)
        await context.abort(grpc.StatusCode[code_of(error).name], status.message, trailers(status, error))
        yield b""  # makes it a generator; never reached

    # gRPC reads the message of a unary method before it calls the handler, and that of a stream on demand.
    return grpc.stream_stream_rpc_method_handler(refuse)
