"""Calls that need no token, health and reflection: long, malformed, compressed, or not UTF-8."""

from __future__ import annotations

from random import Random

import grpc
from clipserve_gateway.grpc_adapter.open_calls import MAX_REQUEST_BYTES
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from bench.fuzz.mutate import harmed, odd_text
from testing.hostile.sending import Outcome
from testing.hostile.wire import BROKEN, HARMLESS, NOT_TEXT, delimited, nested

CHECK, WATCH = "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch"
REFLECT = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
METHODS = (CHECK, WATCH, REFLECT)
LONG = (MAX_REQUEST_BYTES - 3, MAX_REQUEST_BYTES, MAX_REQUEST_BYTES + 1, 100_000, 4_000_000)
PROMISED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}
"""How an open call may end."""

ENDED_BEFORE = "Internal error from Core"
"""What grpc's client says of a stream that was refused before the message had left."""

Extension = reflection_pb2.ExtensionRequest


def open_call(chance: Random) -> tuple[str, bytes, bool]:
    """A method, its request, and whether that is sent compressed."""
    method = chance.choice(METHODS)
    return method, request(method, chance), chance.random() < 0.2


def request(method: str, chance: Random) -> bytes:
    """The bytes of a request."""
    whole = sound(method, chance)
    kind = chance.randrange(6)
    if kind == 0:
        return delimited(1, b"a" * chance.choice(LONG))
    if kind == 1:
        return chance.choice((b"", whole)) + chance.choice((*BROKEN.values(), *HARMLESS.values()))
    if kind == 2:
        return delimited(chance.randint(1, 7), chance.choice(list(NOT_TEXT.values())))
    if kind == 3:
        return nested(chance.randint(1, 7), chance.choice((2, 99, 101, 5_000)), whole)
    return harmed(whole, [whole], chance) if kind == 4 else whole


def sound(method: str, chance: Random) -> bytes:
    """A request that can be parsed, of an odd name."""
    name = chance.choice(("", "clipserve.calls", "clipserve.v1.ClipService", odd_text(chance)))
    if method != REFLECT:
        return health_pb2.HealthCheckRequest(service=name).SerializeToString()
    number = chance.choice((0, 1, -1, 2**31 - 1, -(2**31)))
    fields = chance.choice(
        (
            {"file_by_filename": name},
            {"file_containing_symbol": name},
            {"list_services": name},
            {"all_extension_numbers_of_type": name},
            {"file_containing_extension": Extension(containing_type=name, extension_number=number)},
            {},
        )
    )
    return reflection_pb2.ServerReflectionRequest(host=name, **fields).SerializeToString()


async def send_open(
    channel: grpc.aio.Channel, method: str, data: bytes, *, compressed: bool, timeout: float
) -> Outcome:
    """Calls a method; of a watch, the first answer is enough."""
    how = grpc.Compression.Gzip if compressed else grpc.Compression.NoCompression
    path = f"/{method}"
    try:
        if method == REFLECT:
            async for _ in channel.stream_stream(path)(iter([data]), timeout=timeout, compression=how):
                pass
        elif method == WATCH:
            call = channel.unary_stream(path)(data, timeout=timeout, compression=how)
            await call.read()
            if not call.done():
                call.cancel()
            elif await call.code() is not grpc.StatusCode.OK:
                return Outcome((await call.code()).name, message=await call.details())
        else:
            await channel.unary_unary(path)(data, timeout=timeout, compression=how)
    except grpc.aio.AioRpcError as error:
        if compressed and error.details() == ENDED_BEFORE:
            return Outcome("UNIMPLEMENTED")
        return Outcome(error.code().name, message=error.details() or "")
    return Outcome("OK")


def open_fault(request: bytes, compressed: bool, outcome: Outcome) -> str:
    """What is wrong with how an open call ended; empty if nothing."""
    if compressed and outcome.code == "UNIMPLEMENTED":
        return ""
    if outcome.code not in PROMISED:
        return f"the call ended with {outcome.code}: {outcome.message[:300]}"
    if len(request) > MAX_REQUEST_BYTES and outcome.code != "RESOURCE_EXHAUSTED":
        return f"a request of {len(request):,} bytes was not refused: {outcome.code}"
    return ""
