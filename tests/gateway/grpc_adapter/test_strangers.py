"""Whatever a stranger sends: a real gateway serves on, and its log has no traceback and no secret."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from clipserve_gateway.access.tokens import line_of
from grpc_health.v1 import health_pb2, health_pb2_grpc

from faults import http2
from testing.service import Gateway, start_gateway

PATHS = {
    "check": http2.CHECK,
    "watch": http2.WATCH,
    "reflection": http2.REFLECT,
    "embed": http2.EMBED,
    "stream": b"/clipserve.v1.ClipService/EmbedStream",
    "unknown method": b"/grpc.health.v1.Health/Nope",
    "unknown service": b"/nope.Nope/Nope",
    "not UTF-8": b"/clipserve.v1.ClipService/\xff\xfe",
    "empty": b"",
    "no slash": b"x",
    "control characters": b"/\x01\x1b[2J/x",
}
HEADERS = {
    "timeout that is no number": (b"grpc-timeout", b"abc"),
    "timeout below 0": (b"grpc-timeout", b"-1S"),
    "timeout of 0": (b"grpc-timeout", b"0n"),
    "timeout of ages": (b"grpc-timeout", b"99999999H"),
    "gzip": (b"grpc-encoding", b"gzip"),
    "encoding that is unknown": (b"grpc-encoding", b"\xff"),
    "binary that is no base64": (b"x-bin", b"!!!"),
    "text that is not UTF-8": (b"x-text", b"\xff\xfe"),
    "token that is not UTF-8": (b"authorization", b"Bearer s3cret\xff"),
    "scheme that is unknown": (b"authorization", b"Basic s3cret"),
    "request id that is not UTF-8": (b"x-request-id", b"\x80" * 10),
    "priority that is not UTF-8": (b"x-clipserve-priority", b"\xff"),
    "content type of others": (b"content-type", b"text/plain"),
}
MESSAGES = {
    "malformed": http2.message(b"\xff\xff\xff"),
    "not UTF-8": http2.message(b"\x0a\x02\xff\xfe"),
    "empty": http2.message(b""),
    "no message": b"",
    "half a prefix": b"\0\0",
    "half a message": b"\0\0\0\0\x10abc",
    "two messages": http2.message(b"") * 2,
    "compressed": http2.message(b"\x1f\x8b\x08\0", compressed=True),
    "unknown flag": b"\x07\0\0\0\0",
    "4 GB announced": b"\0\xff\xff\xff\xff",
}


@pytest.fixture(scope="module", params=["without tokens", "with tokens"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("strangers")
    tokens = folder / "tokens"
    tokens.write_text(line_of("ops", "a-token-of-somebody", ()) + "\n")
    options = ("--token-file", str(tokens)) if request.param == "with tokens" else ()
    # There is no Triton: health, reflection and what comes before an embedding need none.
    gateway = start_gateway("127.0.0.1:1", str(folder / "data"), folder, *options)
    begin = time.monotonic()
    while not serves(gateway):
        # Until it has looked for models once.
        assert time.monotonic() < begin + 60, gateway.log.read_text()
        time.sleep(0.05)
    yield gateway
    assert gateway.stop() == 0
    log = gateway.log.read_text()
    assert "Traceback" not in log
    assert "s3cret" not in log


def serves(gateway: Gateway) -> bool:
    with grpc.insecure_channel(gateway.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        request = health_pb2.HealthCheckRequest(service="clipserve.calls")
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=60, wait_for_ready=True)
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def say(gateway: Gateway, *calls: bytes, settle: bool = True) -> None:
    """Sends calls, each on a connection of its own, and waits until the gateway has taken them up."""
    for data in calls:
        with http2.greeted(gateway.address) as connection, contextlib.suppress(OSError):
            connection.sendall(data + http2.frame(http2.PING, 0, 0, b"12345678"))
            while settle and b"12345678" not in (answer := connection.recv(65536)):
                assert answer


@pytest.mark.parametrize("path", PATHS)
def test_odd_headers(gateway: Gateway, path: str) -> None:
    say(gateway, *(http2.call(1, PATHS[path], http2.named(b"a"), header) for header in HEADERS.values()))
    assert serves(gateway)


@pytest.mark.parametrize("path", PATHS)
def test_odd_messages(gateway: Gateway, path: str) -> None:
    ends = (http2.END_STREAM, 0)
    every = itertools.product(MESSAGES.values(), ends)
    say(gateway, *(http2.call(1, PATHS[path], data, flags=flags) for data, flags in every))
    assert serves(gateway)


@pytest.mark.parametrize("path", PATHS)
def test_calls_that_are_reset(gateway: Gateway, path: str) -> None:
    reset = struct.pack(">I", http2.CANCEL)
    block = http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.headers(PATHS[path]))
    call = http2.call(1, PATHS[path], http2.named(b""))
    ends = [http2.frame(http2.RST_STREAM, 0, 1, reset), b""]
    say(gateway, *(begin + end for begin in (block, call) for end in ends))
    say(gateway, *(begin + end for begin in (block, call) for end in ends), settle=False)
    many = [
        http2.call(n, PATHS[path], http2.named(b"")) + http2.frame(http2.RST_STREAM, 0, n, reset)
        for n in range(1, 400, 2)
    ]
    with http2.greeted(gateway.address) as connection, contextlib.suppress(OSError):
        connection.sendall(b"".join(many))
    assert serves(gateway)


def test_headers_beyond_the_limit_end_a_connection_that_acknowledges_no_settings(gateway: Gateway) -> None:
    # The first call teaches the server a header; each byte of the second repeats it.
    long = b"x" * 1000
    learn = b"\x40\x01a\x7f" + bytes([(len(long) - 127) % 128 + 128, (len(long) - 127) // 128]) + long
    flags = http2.END_HEADERS
    with http2.greeted(gateway.address) as connection:
        connection.settimeout(20)
        connection.sendall(http2.frame(http2.HEADERS, flags, 1, http2.headers(http2.CHECK) + learn))
        for stream in (3, 5, 7):
            block = http2.headers(http2.CHECK) + b"\xbe" * 100
            connection.sendall(http2.frame(http2.HEADERS, flags, stream, block))
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass
    assert serves(gateway)


def test_compressed_messages_are_refused_by_name(gateway: Gateway) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(gateway.address, options, compression=grpc.Compression.Gzip) as channel:
        request = health_pb2.HealthCheckRequest(service="a" * 500)
        with pytest.raises(grpc.RpcError) as raised:
            health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "gzip" in raised.value.details()


def test_a_setting_allows_compressed_messages(tmp_path: Path) -> None:
    gateway = start_gateway("127.0.0.1:1", str(tmp_path / "data"), tmp_path, "--compressed-requests", "true")
    with grpc.insecure_channel(gateway.address, compression=grpc.Compression.Gzip) as channel:
        request = health_pb2.HealthCheckRequest(service="a" * 500)
        with pytest.raises(grpc.RpcError) as raised:
            health_pb2_grpc.HealthStub(channel).Check(request, timeout=60)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert gateway.stop() == 0


def test_all_of_it_on_one_connection(gateway: Gateway) -> None:
    with http2.greeted(gateway.address) as connection, contextlib.suppress(OSError):
        calls = itertools.product(PATHS.values(), MESSAGES.values())
        for n, (path, data) in enumerate(calls):
            connection.sendall(http2.call(2 * n + 1, path, data))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert serves(gateway)
