"""The environment's proxy is not used for this machine, and is named in errors for others."""

from __future__ import annotations

import itertools
import os
import socket
import threading

import grpc
import pytest
from clipserve_gateway import errors
from clipserve_gateway.index.milvus.connection import MilvusConnection
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.process import proxies
from clipserve_gateway.triton.client import TritonEncoder

PORTS = itertools.count(1000)


def elsewhere() -> str:
    """An unused address of the range for documentation, which gRPC has not tried before."""
    return f"198.51.100.1:{next(PORTS)}"


class Proxy:
    """A proxy that refuses all requests and counts them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                self.asked.append(connection.recv(1000))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


@pytest.fixture(scope="module")
def proxies_server() -> Proxy:
    return Proxy()


@pytest.fixture(params=["http_proxy", "https_proxy", "grpc_proxy"])
def proxy(request, proxies_server, monkeypatch) -> Proxy:
    for name in (*proxies.PROXY_VARIABLES, "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(request.param, f"http://user:s3cret@{proxies_server.address}")
    proxies_server.asked.clear()
    return proxies_server


async def failure(target: str) -> errors.ClipserveError:
    encoder = TritonEncoder(target)
    try:
        with pytest.raises(errors.ClipserveError) as raised:
            await encoder.repository_index(20)
    finally:
        await encoder.close()
    return raised.value


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "[::]", "[::1]", "own"])
async def test_a_triton_on_this_machine_is_reached_directly(proxy, host):
    server = grpc.aio.server()
    port = server.add_insecure_port("[::]:0")
    await server.start()
    host = socket.gethostname() if host == "own" else host
    # The server answers that it is not a Triton, so no proxy was used.
    assert isinstance(await failure(f"{host}:{port}"), errors.InferenceFailed)
    assert proxy.asked == []
    await server.stop(None)


async def test_the_log_names_the_proxy_of_a_triton_elsewhere_and_no_password(proxy, caplog):
    target = elsewhere()
    error = await failure(target)
    assert proxy.address not in error.message
    for text in (error.logged, caplog.text):
        assert f"is set: {target} is reached through proxy {proxy.address}" in text
        assert "s3cret" not in text
    assert proxy.asked


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", socket.gethostname()])
async def test_a_milvus_on_this_machine_is_reached_directly(proxy, host):
    connection = MilvusConnection(MilvusOptions(f"http://{host}:1", timeout=2.0))
    with pytest.raises(errors.StorageUnavailable) as raised:
        await connection.call("list_collections")
    assert "proxy" not in raised.value.logged
    assert proxy.asked == []
    await connection.close()


async def test_the_log_names_the_proxy_of_a_milvus_elsewhere(proxy):
    connection = MilvusConnection(MilvusOptions(f"http://{elsewhere()}", timeout=2.0))
    with pytest.raises(errors.StorageUnavailable) as raised:
        await connection.call("list_collections")
    assert proxy.address in raised.value.logged
    assert proxy.asked
    await connection.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "localhost,127.0.0.1,::1,0.0.0.0"),
        (".svc, localhost", ".svc,localhost,127.0.0.1,::1,0.0.0.0"),
        ("*", "*"),
    ],
)
def test_libraries_reach_this_machine_directly(monkeypatch, before, after):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", before or "")
    proxies.except_this_machine()
    assert os.environ["no_proxy"] == after
