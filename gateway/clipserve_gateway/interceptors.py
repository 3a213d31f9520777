"""Around every call of ours: parse, answer errors with their status, measure, log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from clipserve_gateway import errors, stages
from clipserve_gateway.convert.status import code_of, internal_status, rpc_status, trailers
from clipserve_gateway.metrics import Metrics

log = logging.getLogger("clipserve.access")

REQUEST_ID = "x-request-id"
TIMING = "clipserve-timing"
MAX_REQUEST_ID = 128

REQUEST_TYPES: dict[str, type[Message]] = {
    f"/{service.full_name}/{method.name}": GetMessageClass(method.input_type)
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Turns domain errors into statuses with details, and counts, times and logs each call.

    Requests are parsed here, so that bytes that are no message get INVALID_ARGUMENT like any bad input.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Wraps the handlers of our services; health and reflection stay as they are."""
        handler = await continuation(details)
        parse = REQUEST_TYPES.get(details.method)
        if handler is None or parse is None:
            return handler

        async def unary(data: bytes, context: grpc.aio.ServicerContext) -> Message:
            async with self._serving(details, context):
                return await handler.unary_unary(parsed(parse, data), context)
            raise AssertionError("abort raises")

        async def stream(
            data: AsyncIterator[bytes], context: grpc.aio.ServicerContext
        ) -> AsyncIterator[Message]:
            async with self._serving(details, context):
                async for response in handler.stream_stream(parsed_stream(parse, data), context):
                    yield response

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                stream, response_serializer=handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=handler.response_serializer)

    @contextlib.asynccontextmanager
    async def _serving(
        self, details: grpc.HandlerCallDetails, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[None]:
        method = details.method.rpartition("/")[2]
        request_id = request_id_of(details)
        code, failure = grpc.StatusCode.OK, None
        start = time.perf_counter()
        with stages.recording() as record:
            try:
                yield
                context.set_trailing_metadata(((REQUEST_ID, request_id), (TIMING, record.trailer())))
            except errors.ClipserveError as error:
                code, failure = code_of(error), error
                if code is grpc.StatusCode.INTERNAL:
                    log.exception("call failed", extra={"fields": {"request_id": request_id}})
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception:
                code = grpc.StatusCode.INTERNAL
                log.exception("call failed", extra={"fields": {"request_id": request_id}})
            finally:
                self._observe(method, code, time.perf_counter() - start, request_id, record, failure)
            if code is not grpc.StatusCode.OK:
                status = rpc_status(failure) if failure else internal_status()
                await abort(context, status, failure, request_id, record)

    def _observe(
        self,
        method: str,
        code: grpc.StatusCode,
        seconds: float,
        request_id: str,
        record: stages.Record,
        failure: errors.ClipserveError | None,
    ) -> None:
        self._metrics.requests.labels(method, code.name).inc()
        self._metrics.request_seconds.labels(method).observe(seconds)
        for name, spent in record.seconds.items():
            self._metrics.stage_seconds.labels(name).observe(spent)
        fields: dict[str, Any] = {
            "request_id": request_id,
            "method": method,
            "code": code.name,
            "ms": round(seconds * 1000, 2),
            "stages_ms": {name: round(spent * 1000, 2) for name, spent in record.seconds.items()},
            **record.facts,
            **record.notes,
        }
        if failure is not None:
            fields |= {"reason": failure.reason, "field": failure.field, "error": failure.message[:500]}
        log.info("call", extra={"fields": fields})


async def abort(
    context: grpc.aio.ServicerContext,
    status: status_pb2.Status,
    failure: errors.ClipserveError | None,
    request_id: str,
    record: stages.Record,
) -> None:
    """Ends the call with its status, details and trailers."""
    await context.abort(
        code_of(failure) if failure else grpc.StatusCode.INTERNAL,
        status.message,
        (*trailers(status, failure), (REQUEST_ID, request_id), (TIMING, record.trailer())),
    )


def parsed(kind: type[Message], data: bytes) -> Message:
    """The message; InvalidInput for bytes that are none (or hold text that is not UTF-8)."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise errors.InvalidInput(f"the request is not a {kind.DESCRIPTOR.full_name} message") from error


async def parsed_stream(kind: type[Message], data: AsyncIterator[bytes]) -> AsyncIterator[Message]:
    """The messages of a stream; nothing is read of it before the first one is asked for."""
    async for item in data:
        yield parsed(kind, item)


def request_id_of(details: grpc.HandlerCallDetails) -> str:
    """The caller's own id for the call, if it is short printable ASCII; else a new one."""
    for key, value in details.invocation_metadata or ():
        if (
            key == REQUEST_ID
            and isinstance(value, str)
            and value.isprintable()
            and 0 < len(value) <= MAX_REQUEST_ID
        ):
            return value
    return uuid.uuid4().hex
