"""Bytes over the wire and what comes back, whatever was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
from clipserve.v1 import clip_pb2, collection_pb2, labels_pb2
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

METHODS: dict[str, MethodDescriptor] = {
    f"{service.name}/{method.name}": method
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
"""Every method of the three services, as `Service/Method`."""

MAX_BYTES = 64 << 20
OPTIONS = [("grpc.max_receive_message_length", MAX_BYTES), ("grpc.max_send_message_length", -1)]


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its status, and the answers until then (several of a stream)."""

    code: str
    reason: str = ""
    fields: tuple[str, ...] = ()
    message: str = ""
    responses: list[Message] = field(default_factory=list)


def request_type(method: str) -> type[Message]:
    """The message that a method takes."""
    return GetMessageClass(METHODS[method].input_type)


async def send(
    channel: grpc.aio.Channel,
    method: str,
    *requests: bytes,
    timeout: float = 30.0,
    metadata: Sequence[tuple[str, str]] = (),
) -> Outcome:
    """Calls a method with requests as they are; streams take several."""
    about = METHODS[method]
    path, answer = f"/{about.containing_service.full_name}/{about.name}", GetMessageClass(about.output_type)
    responses: list[Message] = []
    try:
        if about.client_streaming:
            call = channel.stream_stream(path, response_deserializer=answer.FromString)
            async for response in call(stream(requests), timeout=timeout, metadata=metadata):
                responses += [response]
        else:
            call = channel.unary_unary(path, response_deserializer=answer.FromString)
            responses.append(await call(*requests, timeout=timeout, metadata=metadata))
    except grpc.aio.AioRpcError as error:
        return refusal(error, responses)
    return Outcome("OK", responses=responses)


async def stream(requests: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    """The requests, one after the other."""
    for request in requests:
        yield request


def refusal(error: grpc.aio.AioRpcError, responses: list[Message]) -> Outcome:
    """The status of a call with its details, where there are any."""
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    fields = tuple(violation.field for violation in bad.field_violations)
    return Outcome(error.code().name, info.reason, fields, error.details() or "", responses)
