"""The environment's proxy: not used for this machine, and named in errors of other servers."""

from __future__ import annotations

import itertools
import socket
import threading

import clipserve
import pytest
from clipserve.transport import proxy
from clipserve.transport.channel import channel_options, target_uri

PORTS = itertools.count(1000)
DIRECT = "grpc.enable_http_proxy"


def elsewhere() -> str:
    """An unused address of the documentation range; a new one, because gRPC remembers failed addresses."""
    return f"198.51.100.2:{next(PORTS)}"


@pytest.fixture(params=["http_proxy", "https_proxy", "grpc_proxy"])
def refusing(request, monkeypatch):
    """A proxy that refuses all requests; yields the requests."""
    for name in (*proxy.PROXY_VARIABLES, *proxy.NO_PROXY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    listener = socket.create_server(("127.0.0.1", 0))
    address, asked = f"127.0.0.1:{listener.getsockname()[1]}", []

    def serve():
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(1000))
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        except OSError:
            pass

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setenv(request.param, f"http://user:s3cret@{address}")
    yield address, asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def failure(target: str) -> str:
    client = clipserve.Client(target, retry=None, timeout=20)
    with client, pytest.raises(clipserve.ClipserveError) as raised:
        client.info()
    return raised.value.message


OWN = ["127.0.0.1", "127.9.9.9", "localhost", "localhost.", "0.0.0.0", "[::1]", "[::]", "127.1"]


@pytest.mark.parametrize("host", [*OWN, socket.gethostname(), socket.gethostname().upper() + "."])
def test_this_machine_is_reached_directly(refusing, host):
    assert dict(channel_options(target_uri(f"{host}:1")))[DIRECT] == 0
    with socket.socket() as taken:
        # A port without a server.
        taken.bind(("0.0.0.0", 0))
        assert "proxy" not in failure(f"{host}:{taken.getsockname()[1]}")
    assert refusing[1] == []


def test_an_error_names_the_proxy_and_no_password(refusing):
    target = elsewhere()
    assert DIRECT not in dict(channel_options(target_uri(target)))
    message = failure(target)
    assert f"{target} through the proxy {refusing[0]} (" in message
    assert "s3cret" not in message
    assert refusing[1]


@pytest.mark.parametrize("entry", ["198.51.100.2", "198.51.100.0/24", "a, .100.2", "*.b,198.51.100.2"])
def test_no_proxy_is_obeyed_and_then_none_is_named(refusing, monkeypatch, entry):
    monkeypatch.setenv("no_proxy", entry)
    assert "proxy" not in failure(elsewhere())
    assert refusing[1] == []


def test_without_a_proxy_no_name_is_looked_up(monkeypatch):
    for name in proxy.PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("looked up"))
    assert DIRECT not in dict(channel_options("dns:///gateway:8600"))
    assert proxy.describe_proxy("dns:///gateway:8600") == ""


def test_a_socket_file_has_no_proxy(refusing):
    assert dict(channel_options("unix:/run/a.sock"))[DIRECT] == 0
    assert proxy.describe_proxy("unix:/run/a.sock") == ""


def test_a_slow_lookup_does_not_hold_up_the_channel(refusing, monkeypatch):
    waiting = threading.Event()
    monkeypatch.setattr(proxy, "LOOKUP_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [waiting.wait()][:0])
    assert not proxy.is_own("dns:///gateway:8600")
    waiting.set()
