"""Finds out why a connection fails: gRPC reports only the last address's error, partly in OpenSSL's words.

Connects to each address of the target again with Python's own sockets and TLS, for a second in total.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass

from clipserve.transport.channel import Tls, pem
from clipserve.transport.proxy import describe_proxy

PROBE_SECONDS = 1.0
"""For all addresses together, without resolving the name."""
MAX_ADDRESSES = 4
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""Start of an HTTP/2 connection by the client: the preface and an empty SETTINGS frame."""
TLS_ALERT = 0x15
SETTINGS = 0x04
NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
)
"""OpenSSL's reasons for an answer that is not TLS."""
CERTIFICATE_ALERTS = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
"""Parts of OpenSSL's reasons if the server requires a client certificate, or refuses the given one."""


@dataclass(frozen=True)
class Cause:
    """Why a connection fails."""

    name: str
    """For programs, upper case."""
    message: str
    """For people: the reason, and what to do."""


def find_cause(uri: str, tls: Tls | None) -> Cause | None:
    """Why a target `dns:///HOST:PORT` cannot be reached; None if no cause is found.

    The reply of a server takes precedence over addresses that refuse connections.
    """
    match = re.fullmatch(r"dns:///\[?([^\[\]/]+)\]?:(\d+)", uri)
    if match is None or describe_proxy(uri):
        return None
    host, port = match[1], int(match[2])
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Cause("NO_ADDRESS", f"the host name {host} has no address; check its spelling")
    deadline = time.monotonic() + PROBE_SECONDS
    refused = False
    for family, _, _, _, address in addresses[:MAX_ADDRESSES]:
        seconds_left = deadline - time.monotonic()
        if seconds_left <= 0:
            break
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds_left)
            try:
                connection.connect(address)
            except OSError as error:
                refused = refused or isinstance(error, ConnectionRefusedError)
                continue
            # One working address is enough for gRPC.
            return probe(connection, host, tls)
    if not refused:
        return None
    return Cause("REFUSED", "connection refused: no server listens there; check that it runs, and its port")


def probe(connection: socket.socket, host: str, tls: Tls | None) -> Cause | None:
    """Why a server that accepts connections cannot be used; None if no cause is found."""
    try:
        return plain_cause(connection) if tls is None else tls_cause(connection, host, tls)
    except OSError:
        return None


def plain_cause(connection: socket.socket) -> Cause | None:
    """Starts HTTP/2 without TLS."""
    peer = connection.getpeername()
    connection.sendall(HELLO)
    with contextlib.suppress(ConnectionError):
        begin = connection.recv(9)
        if len(begin) == 9 and begin[3] == SETTINGS:
            return None
        if begin.startswith(b"HTTP/"):
            return Cause(
                "NOT_GRPC", "the server speaks HTTP/1.1, not gRPC; this may be the port of its metrics"
            )
        if begin and begin[0] != TLS_ALERT:
            return Cause("NOT_GRPC", "the server on this port does not speak gRPC; check the port")
    if speaks_tls(peer):
        return Cause("TLS", "the server speaks TLS; connect with TLS")
    return None


def speaks_tls(peer: tuple[str, int]) -> bool:
    """Whether a server at this address speaks TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(peer[:2], PROBE_SECONDS) as connection,
            context.wrap_socket(connection) as secure,
        ):
            return bool(secure.version())
    except ssl.SSLError as error:
        # A TLS alert: the server refuses the connection, but it speaks TLS.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def tls_cause(connection: socket.socket, host: str, tls: Tls) -> Cause | None:
    """Starts TLS with the client's settings."""
    problem = bad_file(tls)
    try:
        context = None if problem else ssl_context(tls)
    except ssl.SSLError as error:
        problem, context = unusable(error), None
    if context is None:
        return Cause("BAD_CERTIFICATE", f"{problem}; TLS cannot start with it")
    name = tls.server_name or host
    try:
        with context.wrap_socket(connection, server_hostname=name) as secure:
            # In TLS 1.3, the server refuses a client certificate only after the handshake.
            secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return certificate_cause(error, name)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if any(word in reason for word in CERTIFICATE_ALERTS):
            message = "the server requires a client certificate (mTLS) that it trusts; give one"
            return Cause("CERTIFICATE_REQUIRED", message)
        if reason in NO_TLS:
            return Cause("NO_TLS", "the server does not speak TLS; connect without TLS")
    return None


def bad_file(tls: Tls) -> str:
    """What is wrong with the client's own files; empty if nothing is."""
    for source, kind, problem in (
        (tls.ca, b"CERTIFICATE", "the file of the certificate authority has no certificate (PEM)"),
        (tls.certificate, b"CERTIFICATE", "the file of the client certificate has no certificate (PEM)"),
        (tls.key, b"PRIVATE KEY", "the file of the client key has no private key (PEM)"),
    ):
        if source is not None and not re.search(
            b"-----BEGIN [A-Z0-9 ]*" + kind + b"-----", pem(source) or b""
        ):
            return problem
    return ""


def unusable(error: ssl.SSLError) -> str:
    """Why files with the right content cannot be used."""
    if "MISMATCH" in (error.reason or ""):
        return "the client key does not belong to the client certificate"
    return f"the client certificate files cannot be used ({error.reason or error})"


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """A context with the client's certificate authorities and certificate. Raises ssl.SSLError."""
    authority = pem(tls.ca)
    context = ssl.create_default_context(cadata=authority.decode("ascii", "replace") if authority else None)
    # Since Python 3.13, a default context demands extensions that gRPC does not demand.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["h2"])
    certificate, key = pem(tls.certificate), pem(tls.key)
    if certificate is not None and key is not None:
        # Python reads certificates from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            # Without `password`, OpenSSL asks at the terminal for the password of an encrypted key.
            context.load_cert_chain(file.name, password="")
    return context


def certificate_cause(error: ssl.SSLCertVerificationError, name: str) -> Cause:
    """What is wrong with the server's certificate."""
    why = error.verify_message or str(error)
    if "mismatch" in why.lower() or "not valid for" in why.lower():
        return Cause(
            "WRONG_NAME",
            f"the server's certificate is not for {name}; use a name in the certificate, or set server_name",
        )
    if "expired" in why or "not yet valid" in why:
        return Cause("EXPIRED", f"the server's {why}; renew it, or check this machine's clock")
    return Cause(
        "NOT_TRUSTED", f"the server's certificate is not trusted ({why}); give its certificate authority"
    )
