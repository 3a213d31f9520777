"""Open calls: senders that are slow or send much hold little, and hold up nobody."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import pytest
from clipserve_gateway.grpc_adapter import open_calls
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from faults import http2

SERVING = health_pb2.HealthCheckResponse.SERVING
HALF = b"\0\x03\xc0\0\0" + bytes(100)
"""The begin of a message of 60 MiB."""


async def check(channel: grpc.aio.Channel) -> int:
    request = health_pb2.HealthCheckRequest()
    return (await health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)).status


@pytest.mark.parametrize("path", [http2.CHECK, http2.WATCH])
async def test_senders_that_are_slow_lose_their_turn(gateway, channel, path):
    calls = gateway.parts.health._calls
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(http2.greeted(f"127.0.0.1:{gateway.port}"))
            for n in range(3):
                connection.sendall(http2.call(2 * n + 1, path, HALF, flags=0))
        for _ in range(3):
            assert await check(channel) == SERVING
        assert calls._turns <= open_calls.TURNS
    while calls._calls or calls._waiting or calls._receiving or calls._turns:
        await asyncio.sleep(0.01)


async def test_a_sender_that_is_alone_may_take_its_time(channel):
    asked = asyncio.Event()

    async def slow():
        await asyncio.sleep(3 * open_calls.TURN_SECONDS)
        asked.set()
        yield b""

    call = channel.stream_stream("/grpc.health.v1.Health/Check")(slow())
    assert health_pb2.HealthCheckResponse.FromString(await call.read()).status == SERVING
    assert asked.is_set()


async def test_calls_of_a_connection_are_bounded(gateway, channel):
    with http2.greeted(f"127.0.0.1:{gateway.port}") as connection:
        for n in range(open_calls.CALLS_PER_CONNECTION + 8):
            connection.sendall(http2.call(2 * n + 1, http2.WATCH, HALF, flags=0))
        while sum(gateway.parts.health._calls._calls.values()) < open_calls.CALLS_PER_CONNECTION - 8:
            await asyncio.sleep(0.01)
        assert await check(channel) == SERVING
        assert sum(gateway.parts.health._calls._calls.values()) <= open_calls.CALLS_PER_CONNECTION


Reflect = reflection_pb2.ServerReflectionRequest


async def reflect(channel: grpc.aio.Channel, *requests: Reflect) -> list:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return [answer async for answer in stub.ServerReflectionInfo(iter(requests))]


async def test_reflection_describes_the_services(channel):
    services, file, unknown = await reflect(
        channel,
        Reflect(list_services=""),
        Reflect(file_containing_symbol="clipserve.v1.ClipService"),
        Reflect(file_by_filename="nope"),
    )
    names = {service.name for service in services.list_services_response.service}
    assert {"clipserve.v1.ClipService", "grpc.health.v1.Health"} <= names
    assert len(file.file_descriptor_response.file_descriptor_proto) > 1
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def odd_requests() -> list[Reflect]:
    extension = reflection_pb2.ExtensionRequest
    return [
        Reflect(),
        Reflect(file_by_filename="\0" * 100),
        Reflect(file_containing_symbol="."),
        *(
            Reflect(file_containing_extension=extension(containing_type=name, extension_number=number))
            for name in ("", "google.protobuf.FileOptions", "clipserve.v1.EmbedRequest")
            for number in (0, -1, 1, 2**31 - 1, -(2**31))
        ),
        Reflect(all_extension_numbers_of_type="google.protobuf.FileOptions"),
        Reflect(all_extension_numbers_of_type="é"),
    ]


@pytest.mark.parametrize("request_", odd_requests(), ids=lambda it: str(it).strip()[:60])
async def test_odd_requests_of_reflection_are_answered(channel, caplog, request_):
    with contextlib.suppress(grpc.aio.AioRpcError):
        assert len(await reflect(channel, request_)) == 1
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xff", grpc.StatusCode.INVALID_ARGUMENT), (bytes(2000), grpc.StatusCode.RESOURCE_EXHAUSTED)],
)
async def test_reflection_refuses_what_is_malformed_or_large(channel, data, code):
    call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")(
        iter([data])
    )
    assert await call.code() is code
