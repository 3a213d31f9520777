"""If a server cannot be reached, the error has the cause and what to do."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import clipserve
import pytest
from clipserve import Client, Tls

from testing.certificates import Authority


def raised(target: str, tls: Tls | bool = False) -> clipserve.Unavailable:
    """The exception of a call to a target."""
    client = Client(target, retry=None, timeout=10, tls=tls)
    with client, pytest.raises(clipserve.Unavailable) as caught:
        client.info()
    return caught.value


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


@pytest.fixture(params=["127.0.0.1", "localhost"])
def host(request) -> str:
    """If localhost has two addresses, the servers listen on only one of them."""
    return request.param


def test_a_server_without_tls_is_told_to_one_who_wants_tls(shared_address, host):
    error = raised(f"{host}:{port_of(shared_address)}", tls=True)
    assert error.message.endswith("the server does not speak TLS; connect without TLS")
    assert error.metadata["cause"] == "NO_TLS"


def test_a_server_with_tls_is_told_to_one_without(tls_server, host):
    error = raised(f"{host}:{port_of(tls_server.address)}")
    assert error.message.endswith("the server speaks TLS; connect with TLS")
    assert error.metadata["cause"] == "TLS"


@pytest.mark.parametrize("tls", [True, Tls(ca=Authority().certificate), Tls(ca=Authority("x").certificate)])
def test_an_authority_that_is_not_trusted_is_told(tls_server, host, tls):
    error = raised(f"{host}:{port_of(tls_server.address)}", tls=tls)
    assert "the server's certificate is not trusted (" in error.message
    assert error.message.endswith("); give its certificate authority")
    assert error.metadata["cause"] == "NOT_TRUSTED"


def test_a_name_that_the_certificate_does_not_carry_is_told(tls_server, authority, host):
    tls = Tls(ca=authority.certificate, server_name="other.example")
    error = raised(f"{host}:{port_of(tls_server.address)}", tls=tls)
    assert "the server's certificate is not for other.example;" in error.message
    assert error.metadata["cause"] == "WRONG_NAME"


def test_a_certificate_of_ours_that_is_missing_is_told(authority, host, tmp_path):
    with asking_for_certificates(authority, tmp_path) as port:
        error = raised(f"{host}:{port}", tls=Tls(ca=authority.certificate))
    assert "the server requires a client certificate (mTLS) that it trusts; give one" in error.message
    assert error.metadata["cause"] == "CERTIFICATE_REQUIRED"


OTHER = Authority("other").issue()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"ca": b"no certificate"}, "the file of the certificate authority has no certificate (PEM)"),
        ({"ca": b""}, "the file of the certificate authority has no certificate (PEM)"),
        (
            {"certificate": b"none", "key": OTHER.key},
            "the file of the client certificate has no certificate (PEM)",
        ),
        (
            {"certificate": OTHER.key, "key": OTHER.certificate},
            "the file of the client certificate has no certificate",
        ),
        (
            {"certificate": OTHER.certificate, "key": b"none"},
            "the file of the client key has no private key (PEM)",
        ),
        (
            {"certificate": OTHER.certificate, "key": Authority("third").issue().key},
            "the client key does not belong to the client certificate",
        ),
    ],
)
def test_files_of_ours_that_are_not_what_they_should_be_are_told(tls_server, authority, files, words):
    tls = Tls(**({"ca": authority.certificate} | files))
    error = raised(tls_server.address, tls=tls)
    assert words in error.message
    assert "without TLS" not in error.message
    assert error.metadata["cause"] == "BAD_CERTIFICATE"


@contextlib.contextmanager
def asking_for_certificates(authority: Authority, folder: Path) -> Iterator[int]:
    """A TLS server that requires client certificates; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue().write(folder))
    context.load_verify_locations(cadata=authority.certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_port_where_nobody_listens_is_told(host):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = raised(f"{host}:{taken.getsockname()[1]}")
    assert "connection refused: no server listens there;" in error.message
    assert error.metadata["cause"] == "REFUSED"


def test_a_web_server_is_told(host):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    error = raised(f"{host}:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    assert "does not speak gRPC" in error.message
    assert error.metadata["cause"] == "NOT_GRPC"


def test_a_name_without_an_address_is_told():
    error = raised("no-such-host.invalid:80")
    assert error.message.endswith("the host name no-such-host.invalid has no address; check its spelling")


def test_what_cannot_be_found_out_is_told_in_grpcs_words(tmp_path):
    assert "No such file or directory" in raised(f"unix:{tmp_path}/none").message


def test_a_cause_is_looked_for_once_while_the_failure_stays_the_same(shared_address, monkeypatch):
    looks = []
    monkeypatch.setattr("clipserve.transport.unary_call.find_cause", lambda *target: looks.append(target))
    with Client(shared_address, retry=None, timeout=10, tls=True) as client:
        for _ in range(3):
            with pytest.raises(clipserve.Unavailable):
                client.info()
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("option", "hint"), [("--tls", "leave out --tls"), ("--target", "clipserve-gateway up")]
)
def test_the_command_names_the_options_to_change(run, server, option, hint):
    words = [option] if option == "--tls" else [option, "127.0.0.1:9"]
    assert hint in run("info", *words, code=4).output
