"""grpc.health.v1 over real gRPC: what it says, and that no caller of it can delay anybody."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import grpc
import pytest
from clipserve_gateway import errors
from clipserve_gateway.grpc_adapter import health, open_calls
from clipserve_gateway.grpc_adapter.health import CALLS_SERVICE, MODEL_SERVICE, HealthServicer
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faults import http2
from testing.fakes import SPEC, FakeBackend

Request = health_pb2.HealthCheckRequest
MODEL = MODEL_SERVICE + SPEC.name
Status = health_pb2.HealthCheckResponse
LONG = 600.0
"""Seconds that would be noticed."""


async def status(channel: grpc.aio.Channel, service: str = "") -> int:
    return (await health_pb2_grpc.HealthStub(channel).Check(Request(service=service), timeout=LONG)).status


async def failure(call: grpc.aio.Call) -> tuple[grpc.StatusCode, str]:
    return await call.code(), await call.details()


def watches(gateway: Gateway) -> int:
    return gateway.parts.health._watching


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@contextlib.contextmanager
def stalled(gateway: Gateway, services: list[bytes], *, window: int = 0) -> Iterator[socket.socket]:
    """A connection that watches these and reads no answer."""
    connection = http2.greeted(f"127.0.0.1:{gateway.port}", window)
    with connection:
        for n, service in enumerate(services):
            connection.sendall(http2.call(2 * n + 1, http2.WATCH, http2.named(service)))
        yield connection


async def test_a_watch_follows_and_check_knows_names(gateway, channel):
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(Request(service="later"))
    assert (await watch.read()).status == Status.SERVICE_UNKNOWN
    code, _ = await failure(stub.Check(Request(service="later")))
    assert code is grpc.StatusCode.NOT_FOUND
    gateway.parts.health.set("later", True)
    assert (await watch.read()).status == Status.SERVING
    gateway.parts.health.set("later", False)
    gateway.parts.health.set("later", True)
    gateway.parts.health.set("later", False)
    assert (await watch.read()).status == Status.NOT_SERVING
    watch.cancel()
    await until(lambda: watches(gateway) == 0)
    assert gateway.parts.health._watches == {}
    assert not gateway.parts.health._peers


@pytest.mark.parametrize("service", [MODEL.encode(), CALLS_SERVICE.encode(), b"each its own"])
async def test_watchers_that_do_not_read_delay_nobody(gateway, channel, service, monkeypatch):
    monkeypatch.setattr(open_calls, "WRITE_SECONDS", 0.05)
    names = [service] * 4 if service != b"each its own" else [b"x%d" % n for n in range(4)]
    backend = gateway.parts.backend
    with stalled(gateway, names), stalled(gateway, names):
        await until(lambda: watches(gateway) == 8)
        reader = health_pb2_grpc.HealthStub(channel).Watch(Request(service=MODEL))
        assert (await reader.read()).status == Status.SERVING
        backend.source.error = errors.ModelUnavailable("down")
        await gateway.models.refresh()
        assert (await reader.read()).status == Status.NOT_SERVING
        backend.source.error = None
        await gateway.models.refresh()
        assert (await reader.read()).status == Status.SERVING
        # They hold no place among the watches, only among those of their connection.
        await until(lambda: watches(gateway) == 1)
        assert sum(gateway.parts.health._peers.values()) == 9
        reader.cancel()
    await until(lambda: not gateway.parts.health._peers)


async def test_a_connection_that_takes_nothing_more_delays_nobody(gateway, channel):
    """Not each stream's window is empty but the connection's, by answers of reflection."""
    ask = http2.message(b"\x22" + bytes([25]) + b"clipserve.v1.ClipService")  # file_containing_symbol
    with stalled(gateway, [], window=1 << 20) as connection:
        for n in range(24):
            connection.sendall(http2.call(2 * n + 1, http2.REFLECT, ask))
        connection.sendall(http2.call(101, http2.WATCH, http2.named(b"")))
        await until(lambda: watches(gateway) == 1)
        assert await status(channel) == Status.SERVING


async def test_a_stop_waits_for_no_watcher(tmp_path):
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    with stalled(gateway, [b"", CALLS_SERVICE.encode(), b"a"]), stalled(gateway, []) as other:
        for n in range(4):
            # Requests that never end, and reflection that never asks.
            other.sendall(http2.call(4 * n + 1, http2.WATCH, b"\0\0\0\0\x10", flags=0))
            other.sendall(http2.call(4 * n + 3, http2.REFLECT, b"", flags=0))
        await until(lambda: watches(gateway) == 3 and gateway.parts.health._calls._receiving)
        await asyncio.wait_for(gateway.stop(drain_seconds=0, grace_seconds=LONG), LONG / 10)


async def test_those_who_read_hear_of_a_stop_before_it(tmp_path):
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), FakeBackend())
    await gateway.start()
    await gateway.begun()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(Request())
        assert (await watch.read()).status == Status.SERVING
        stopping = asyncio.ensure_future(gateway.stop(drain_seconds=0, grace_seconds=LONG))
        assert (await watch.read()).status == Status.NOT_SERVING
        await asyncio.wait_for(stopping, LONG / 10)
        assert (await failure(watch))[0] is grpc.StatusCode.UNAVAILABLE


async def test_watches_of_a_connection_and_of_all_are_bounded(gateway, channel, monkeypatch):
    stub = health_pb2_grpc.HealthStub(channel)
    open_watches = [stub.Watch(Request()) for _ in range(health.WATCHES_PER_CONNECTION)]
    for watch in open_watches:
        assert (await watch.read()).status == Status.SERVING
    # With another code, gRPC clients would not call at all.
    assert (await failure(stub.Watch(Request())))[0] is grpc.StatusCode.UNIMPLEMENTED
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options) as other:
        watch = health_pb2_grpc.HealthStub(other).Watch(Request())
        assert (await watch.read()).status == Status.SERVING
        monkeypatch.setattr(health, "WATCHES", watches(gateway))
        refused = health_pb2_grpc.HealthStub(other).Watch(Request())
        assert (await failure(refused))[0] is grpc.StatusCode.UNIMPLEMENTED
        assert await status(other) == Status.SERVING
        watch.cancel()
    for watch in open_watches:
        watch.cancel()
    await until(lambda: watches(gateway) == 0)


async def test_a_status_is_final_once_the_server_stops():
    servicer = HealthServicer()
    servicer.set("a", True)
    servicer.shut_down()
    servicer.set("a", True)
    servicer.set("b", True)
    assert servicer._statuses == {"a": Status.NOT_SERVING}


@pytest.mark.parametrize("method", ["Check", "Watch"])
@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\xff\xff", "INVALID_ARGUMENT", "not a grpc.health.v1.HealthCheckRequest"),
        (b"\x0a\x02\xff\xfe", "INVALID_ARGUMENT", "not a grpc.health.v1.HealthCheckRequest"),
        (
            Request(service="a" * 1025).SerializeToString(),
            "RESOURCE_EXHAUSTED",
            "1,028 bytes; the limit",
        ),
        (bytes(1 << 20), "RESOURCE_EXHAUSTED", "1,048,576 bytes; the limit is 1,024"),
    ],
)
async def test_requests_that_are_none_are_refused(channel, method, data, code, words):
    call = channel.unary_stream(f"/grpc.health.v1.Health/{method}")(data)
    status_code, details = await failure(call)
    assert (status_code.name, words in details) == (code, True), details


async def test_a_call_without_a_request_is_refused(channel):
    async def nothing():
        return
        yield

    call = channel.stream_stream("/grpc.health.v1.Health/Check")(nothing())
    assert (await failure(call))[0] is grpc.StatusCode.INVALID_ARGUMENT
