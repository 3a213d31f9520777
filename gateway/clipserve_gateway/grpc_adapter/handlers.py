"""The adapter of gRPC: every call of the API that gRPC carries goes to the CallRunner."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from grpc.aio import EOF, Server, ServicerContext

from clipserve_gateway.access.call import Call
from clipserve_gateway.calls.method import Method
from clipserve_gateway.calls.runner import CallRunner, Outcome
from clipserve_gateway.calls.transport import parse_protobuf, protobuf_bytes
from clipserve_gateway.convert.status import internal_status, rpc_status, trailers
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.types import Limits

M = TypeVar("M", bound=Message)

MAX_SECONDS = 86_400.0
"""Longer deadlines are cut to this: gRPC fails calls whose deadline lies centuries ahead."""


def add_methods(server: Server, methods: Iterable[Method], runner: CallRunner, limits: Limits) -> None:
    """Registers the methods of one service."""
    handlers = {method.path: handler_of(method, runner, limits) for method in methods}
    service = next(iter(handlers)).split("/")[1]
    server.add_registered_method_handlers(service, {path.split("/")[2]: handlers[path] for path in handlers})


def handler_of(method: Method, runner: CallRunner, limits: Limits) -> grpc.RpcMethodHandler:
    """The handler that gRPC calls. It gets bytes, so that bad messages get a status with details."""

    async def unary(_: AsyncIterator[bytes], context: ServicerContext) -> bytes:
        call = call_of(method, context)
        async with runner.running(call) as outcome:
            answer = await runner.answer(call, method, GrpcTransport(context, limits))
            context.set_trailing_metadata(outcome.trailers)
            return answer
        raise await abort(context, outcome)

    async def stream(_: AsyncIterator[bytes], context: ServicerContext) -> AsyncIterator[bytes]:
        call = call_of(method, context)
        async with runner.running(call) as outcome:
            answers = runner.answers(call, method, GrpcTransport(context, limits))
            async with contextlib.aclosing(answers):
                async for answer in answers:
                    yield answer
            context.set_trailing_metadata(outcome.trailers)
            return
        raise await abort(context, outcome)

    # gRPC reads the message of a unary method before it calls the handler. As a stream of one message, which
    # is the same on the wire, the message is read when there is room for it.
    if method.streaming:
        return grpc.stream_stream_rpc_method_handler(stream)
    return grpc.stream_unary_rpc_method_handler(unary)


def call_of(method: Method, context: ServicerContext) -> Call:
    """The call, without gRPC."""
    left = context.time_remaining()
    deadline = None if left is None else Deadline.after(min(left, MAX_SECONDS))
    return Call(
        method.name, context.peer(), context.invocation_metadata() or (), deadline, streaming=method.streaming
    )


class GrpcTransport:
    """Carries the messages of one call."""

    def __init__(self, context: ServicerContext, limits: Limits) -> None:
        self._context = context
        self._limits = limits

    async def receive(self) -> bytes | None:
        """See Transport."""
        data = await self._context.read()
        return None if data is EOF else data

    async def parse(self, kind: type[M], data: bytes) -> M:
        """See Transport. Raises LimitExceeded for a message of too many fields."""
        return await parse_protobuf(kind, data, self._limits)

    async def encode(self, answer: Message | bytes) -> bytes:
        """See Transport."""
        return protobuf_bytes(answer)


async def abort(context: ServicerContext, outcome: Outcome) -> AssertionError:
    """Ends the call with the status, details and trailers of its outcome; never returns."""
    failure = outcome.failure
    status = rpc_status(failure) if failure else internal_status()
    code = grpc.StatusCode[outcome.code]
    await context.abort(code, status.message, (*trailers(status, failure), *outcome.trailers))
    return AssertionError("abort raises")
