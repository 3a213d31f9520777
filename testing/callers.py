"""Callers of a gateway that asks for tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from clipserve.v1 import (
    clip_pb2,
    clip_pb2_grpc,
    collection_pb2,
    collection_pb2_grpc,
    labels_pb2,
    labels_pb2_grpc,
)
from clipserve_gateway.server import Gateway
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

METHODS = {
    method.name: method
    for file in (clip_pb2, collection_pb2, labels_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
STUBS = {
    "ClipService": clip_pb2_grpc.ClipServiceStub,
    "CollectionService": collection_pb2_grpc.CollectionServiceStub,
    "LabelSetService": labels_pb2_grpc.LabelSetServiceStub,
}


def secret(name: str) -> str:
    """The token that tests give to a caller of that name."""
    return f"{name}-0123456789abcdef"


def write_tokens(folder: Path, *lines: str) -> Path:
    """A token file: of each line `NAME OPTIONS…`, with the caller's token after the name."""
    words = [line.split() for line in lines]
    text = "\n".join(" ".join([name, secret(name), *options]) for name, *options in words)
    path = folder / "tokens"
    path.write_text(text + "\n")
    return path


class Caller:
    """A connection to a gateway, and what is sent with each call: a token, or nothing."""

    def __init__(self, gateway: Gateway, name: str = "") -> None:
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}")
        self.metadata = (("authorization", f"Bearer {secret(name)}"),) if name else ()


def send(caller: Caller, method: str, request: Message | None = None, /, **fields: Any) -> Any:
    """Starts a unary call of ours with a request, or with one of these fields."""
    request = request or GetMessageClass(METHODS[method].input_type)(**fields)
    stub = STUBS[METHODS[method].containing_service.name](caller.channel)
    return getattr(stub, method)(request, metadata=caller.metadata)


async def make(ops: Caller, *names: str, **aliases: str) -> None:
    """Makes collections and aliases."""
    for name in names:
        await send(ops, "CreateCollection", name=name)
    for alias, collection in aliases.items():
        await send(ops, "PutAlias", alias=collection_pb2.Alias(name=alias, collection=collection))
