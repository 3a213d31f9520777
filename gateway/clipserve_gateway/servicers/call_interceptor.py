"""Around every call of ours: parse, answer errors with their status, measure, log."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from clipserve_gateway import errors
from clipserve_gateway.access.audit_log import AuditLog
from clipserve_gateway.convert.status import code_of, internal_status, rpc_status, trailers
from clipserve_gateway.convert.wire import check_fields
from clipserve_gateway.flow import stages
from clipserve_gateway.flow.admission import lane_of
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import in_lane
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.servicers.intake import Intake, Messages, expected_bytes
from clipserve_gateway.types import Limits

log = logging.getLogger("clipserve.access")

REQUEST_ID = "x-request-id"
TIMING = "clipserve-timing"
PRIORITY = "x-clipserve-priority"
MAX_REQUEST_ID = 128

DROPPED = {grpc.StatusCode.DEADLINE_EXCEEDED: "deadline", grpc.StatusCode.CANCELLED: "cancelled"}
"""Why work ends early."""

REFUSED = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
"""What the audit log tells of calls that change nothing."""

QUEUES = ("deadline", "decode", "held_bytes", "calls_per_caller", "streams_per_caller")
"""Limits of queues, of the byte budget and of callers; Admission counts what it refuses itself."""

REQUEST_TYPES: dict[str, type[Message]] = {
    f"/{service.full_name}/{method.name}": GetMessageClass(method.input_type)
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


@dataclass
class Ending:
    """How a call ends; `failure` is why, where it is an error of the domain."""

    request_id: str
    record: stages.Record
    code: grpc.StatusCode = grpc.StatusCode.OK
    failure: errors.ClipserveError | None = None


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Turns domain errors into statuses with details, and counts, times and logs each call.

    Requests are parsed here, so that bytes that are no message get INVALID_ARGUMENT like any bad input.
    """

    def __init__(
        self,
        metrics: Metrics,
        limits: Limits,
        intake: Intake,
        default_timeout_seconds: float,
        audit: AuditLog,
    ) -> None:
        self._metrics = metrics
        self._audit = audit
        # To find a metric's child takes as long as all the rest that is done to it.
        self._requests = functools.cache(metrics.requests.labels)
        self._request_seconds = functools.cache(metrics.request_seconds.labels)
        self._stage_seconds = functools.cache(metrics.stage_seconds.labels)
        self._limits = limits
        self._intake = intake
        self._default_timeout = default_timeout_seconds

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

        async def unary(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
            async with self._serving(details, context) as ending:
                with in_lane(lane_of(metadata_value(details, PRIORITY))):
                    expected = expected_bytes(details.invocation_metadata)
                    requests = self._messages(parse, context, expected)
                    answering: Awaitable[Message] = handler.unary_unary(await requests.only(), context)
                    if context.time_remaining() is None:
                        answering = in_default_time(answering, self._default_timeout)
                    return requests.until_sent(encoded(await answering))
            raise await abort(context, ending)

        async def stream(_: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            # Not by gRPC's own iterator, which would keep the last request in the same way.
            requests = self._messages(parse, context)
            async with self._serving(details, context) as ending:
                with contextlib.closing(requests), in_lane(lane_of(metadata_value(details, PRIORITY))):
                    requests.enter(stream=True)
                    async for response in handler.stream_stream(requests, context):
                        with requests.sending(data := encoded(response)):
                            yield data
                return
            raise await abort(context, ending)

        # The wire does not tell a stream of one message from a unary call, and gRPC reads the message of a
        # unary one before anybody is asked.
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.stream_unary_rpc_method_handler(unary)

    def _messages(
        self, kind: type[Message], context: grpc.aio.ServicerContext, expected: int = 0
    ) -> Messages:
        """The call's messages, parsed."""

        def deadline() -> Deadline:
            left = context.time_remaining()
            return Deadline.after(self._default_timeout if left is None else left)

        parse = functools.partial(parsed, kind, limits=self._limits)
        return Messages(self._intake, context, parse, deadline, expected)

    @contextlib.asynccontextmanager
    async def _serving(
        self, details: grpc.HandlerCallDetails, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[Ending]:
        """Whatever is raised inside becomes the call's ending, and is raised no further."""
        method = details.method.rpartition("/")[2]
        start = stages.arrival()
        with stages.recording() as record:
            ending = Ending(request_id_of(details), record)
            record.request_id = ending.request_id
            try:
                yield ending
                context.set_trailing_metadata(((REQUEST_ID, ending.request_id), (TIMING, record.trailer())))
            except errors.ClipserveError as error:
                ending.code, ending.failure = code_of(error), error
                if ending.code is grpc.StatusCode.INTERNAL:
                    log.exception("call failed", extra={"fields": {"request_id": ending.request_id}})
                # All that the call had hangs on these, the request too.
                error.__traceback__ = error.__cause__ = error.__context__ = None
            except asyncio.CancelledError:
                # The caller's own clock ends the call, most of the time before ours does.
                left = context.time_remaining()
                late = left is not None and left <= 0
                ending.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
                raise
            except Exception:
                ending.code = grpc.StatusCode.INTERNAL
                log.exception("call failed", extra={"fields": {"request_id": ending.request_id}})
            finally:
                self._observe(method, time.perf_counter() - start, ending)

    def _observe(self, method: str, seconds: float, ending: Ending) -> None:
        record, failure = ending.record, ending.failure
        model = record.notes.get("model", "")
        self._requests(method, ending.code.name, model).inc()
        if ending.code in DROPPED:
            self._metrics.dropped.labels(stage_of(record, failure), DROPPED[ending.code]).inc()
        self._time(method, model)
        for name, spent in record.seconds.items():
            self._stage_seconds(name).observe(spent)
        fields: dict[str, Any] = {
            "request_id": ending.request_id,
            "method": method,
            "code": ending.code.name,
            "ms": round(seconds * 1000, 2),
            "stages_ms": {name: round(spent * 1000, 2) for name, spent in record.seconds.items()},
            **record.facts,
            **record.notes,
        }
        if isinstance(failure, errors.Overloaded) and failure.metadata.get("limit") in QUEUES:
            self._metrics.rejected.labels(failure.metadata["limit"]).inc()
        if failure is not None:
            fields |= {"reason": failure.reason, "field": failure.field, "error": failure.logged[:500]}
            if ending.code in REFUSED:
                peer = record.notes.get("peer", "")
                self._audit.record("refused", method=method, peer=peer, outcome=failure.reason)
        log.info("call", extra={"fields": fields})

    def _time(self, method: str, model: str) -> None:
        """Observes the call's time once its answer has been sent, which takes turns of the event loop too."""
        arrival, histogram = stages.arrival(), self._request_seconds(method, model)

        def observe(_: object = None) -> None:
            histogram.observe(time.perf_counter() - arrival)

        task = asyncio.current_task()
        if task is None:
            observe()
        else:
            task.add_done_callback(observe)


async def abort(context: grpc.aio.ServicerContext, ending: Ending) -> AssertionError:
    """Ends the call with its status, details and trailers; never returns."""
    failure = ending.failure
    status = rpc_status(failure) if failure else internal_status()
    await context.abort(
        ending.code,
        status.message,
        (*trailers(status, failure), (REQUEST_ID, ending.request_id), (TIMING, ending.record.trailer())),
    )
    return AssertionError("abort raises")


async def in_default_time(answering: Awaitable[Message], seconds: float) -> Message:
    """The answer; DeadlineExceeded if it takes longer than a call may whose caller sets no deadline."""
    try:
        return await asyncio.wait_for(answering, seconds)
    except asyncio.TimeoutError:
        raise errors.DeadlineExceeded(
            f"the call took more than {seconds:g} s, this server's limit for calls without a deadline"
        ) from None


def stage_of(record: stages.Record, failure: errors.ClipserveError | None) -> str:
    """The stage in which a call ended early, or that was not begun."""
    named = failure.metadata.get("stage", "") if failure else ""
    return named or (record.under_way[-1] if record.under_way else "other")


def parsed(kind: type[Message], data: bytes, limits: Limits) -> Message:
    """The message; InvalidInput for bytes that are none (or text that is no UTF-8), or of too many fields."""
    check_fields(kind, data, limits)
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise errors.InvalidInput(f"the request is not a {kind.DESCRIPTOR.full_name} message") from error


def encoded(response: Message | bytes) -> bytes:
    """The bytes of an answer, which large ones are already."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def metadata_value(details: grpc.HandlerCallDetails, key: str) -> str:
    """The first value under a key of the call's metadata; empty if there is none, or no text."""
    for name, value in details.invocation_metadata or ():
        if name == key and isinstance(value, str):
            return value
    return ""


def request_id_of(details: grpc.HandlerCallDetails) -> str:
    """The caller's own id for the call, if it is short printable ASCII; else a new one."""
    value = metadata_value(details, REQUEST_ID)
    return value if value.isprintable() and 0 < len(value) <= MAX_REQUEST_ID else os.urandom(16).hex()
