"""Decides on each call by its headers alone: nothing of the request is read before that."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import health

from clipserve_gateway.access.authorizer import Judge, presiding
from clipserve_gateway.access.caller import Caller, current
from clipserve_gateway.access.token_gate import Gate
from clipserve_gateway.convert.status import code_of, rpc_status, trailers
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow import stages
from clipserve_gateway.metrics import Metrics

OURS = "/clipserve.v1."
OPEN = f"/{health.SERVICE_NAME}/"
"""Health is for load balancers, and for people who look for a fault."""


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Comes after the interceptor that parses, measures and logs calls, which thus sees refused ones too."""

    def __init__(self, gate: Gate, judge: Judge, metrics: Metrics) -> None:
        self._gate = gate
        self._judge = judge
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The call's handler, or one that refuses it. A method of ours that does not exist stays unknown."""
        handler = await continuation(details)
        if details.method.startswith(OPEN):
            return handler
        ours = handler is not None and details.method.startswith(OURS)
        try:
            caller = self._gate.authenticate(details.invocation_metadata or ())
            return self._admitted(caller, details.method, handler) if ours else handler
        except ClipserveError as error:
            self._metrics.rejected.labels(error.reason.lower()).inc()
            return refusal(error, ours=ours)

    def _admitted(
        self, caller: Caller | None, path: str, handler: grpc.RpcMethodHandler
    ) -> grpc.RpcMethodHandler:
        """The handler as it serves this caller; PermissionDenied where the method is not for them."""
        method = path.rpartition("/")[2]
        if caller is None:
            self._gate.permit(None, method)
            return handler
        caller = dataclasses.replace(caller, method=method, streaming=handler.request_streaming)
        current.set(caller)
        presiding.set(self._judge)
        self._gate.permit(caller, method)
        return handler if caller.streaming else judging(handler, self._judge, caller)


def judging(handler: grpc.RpcMethodHandler, judge: Judge, caller: Caller) -> grpc.RpcMethodHandler:
    """The handler, which answers requests once they have been judged. Streams do that for each message."""

    async def unary(request: Any, context: grpc.aio.ServicerContext) -> Any:
        return await judge.judged(caller, request, lambda request: handler.unary_unary(request, context))

    return grpc.unary_unary_rpc_method_handler(
        unary, handler.request_deserializer, handler.response_serializer
    )


def refusal(error: ClipserveError, *, ours: bool) -> grpc.RpcMethodHandler:
    """A handler that fails without reading a request.

    Errors of our services become statuses where all others of theirs do.
    """

    async def refuse(
        requests: AsyncIterator[object], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[None]:
        stages.note("peer", context.peer())
        if (caller := current.get()) is not None:
            stages.note("token", caller.grant.name)
        if ours:
            raise error
        status = rpc_status(error)
        await context.abort(code_of(error), status.message, trailers(status, error))
        yield  # which makes it a stream; nothing gets here

    # A stream's handler gets its requests when it asks for them; the wire does not tell it from a unary one.
    return grpc.stream_stream_rpc_method_handler(refuse)
