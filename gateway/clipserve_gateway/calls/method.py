"""The methods of the API, and the functions that answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


@dataclass(frozen=True)
class Method:
    """One RPC.

    Attributes:
        name: e.g. `Embed`.
        path: e.g. `/clipserve.v1.ClipService/Embed`.
        request: type of its requests.
        response: type of its answers.
        streaming: whether requests and answers are streams.
        handler: takes a request and the Call, and returns an awaitable answer. A streaming one takes an
            iterator of requests and returns an iterator of answers. An answer is a message or its bytes.
    """

    name: str
    path: str
    request: type[Message]
    response: type[Message]
    streaming: bool
    handler: Callable[..., Any]


def methods_of(service: ServiceDescriptor, *servicers: object) -> Iterator[Method]:
    """The methods of a service. Each is answered by the servicer that has a function of its name."""
    for rpc in service.methods:
        (handler,) = (getattr(servicer, rpc.name) for servicer in servicers if hasattr(servicer, rpc.name))
        path = f"/{service.full_name}/{rpc.name}"
        request, response = GetMessageClass(rpc.input_type), GetMessageClass(rpc.output_type)
        yield Method(rpc.name, path, request, response, rpc.client_streaming, handler)
