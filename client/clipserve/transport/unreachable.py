"""Why no connection comes about: gRPC tells the last address's reason only, and some in OpenSSL's words.

Each address of the target is tried once more, for a second at most, with Python's own sockets and TLS.
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
from clipserve.transport.proxy import proxy_for

PROBE_SECONDS = 1.0
"""For all addresses together, the resolution of their name excepted."""
MAX_ADDRESSES = 4
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What a client of HTTP/2 begins with: the preface, and an empty SETTINGS frame."""
TLS_ALERT = 0x15
SETTINGS = 0x04
NO_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
)
"""What OpenSSL says of an answer that is no TLS."""
CERTIFICATE_ALERTS = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE")
"""In what OpenSSL says where the server refuses the client's certificate, or that it shows none."""


@dataclass(frozen=True)
class Cause:
    """Why one address cannot be used."""

    name: str
    """For programs, upper case."""
    words: str
    """For people: what is wrong, and what to do."""


def cause_of(uri: str, tls: Tls | None) -> Cause | None:
    """Why a target `dns:///HOST:PORT` cannot be reached; None where nothing is found.

    A reason that a server gave goes before one of an address where none listens.
    """
    match = re.fullmatch(r"dns:///\[?([^\[\]/]+)\]?:(\d+)", uri)
    if match is None or proxy_for(uri):
        return None
    host, port = match[1], int(match[2])
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Cause("NO_ADDRESS", f"the name {host} has no address; is it spelled right?")
    end = time.monotonic() + PROBE_SECONDS
    refused = False
    for family, _, _, _, address in found[:MAX_ADDRESSES]:
        left = end - time.monotonic()
        if left <= 0:
            break
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(left)
            try:
                connection.connect(address)
            except OSError as error:
                refused = refused or isinstance(error, ConnectionRefusedError)
                continue
            # A name with several addresses: gRPC needs one that works.
            return probed(connection, host, tls)
    if not refused:
        return None
    return Cause("REFUSED", "connection refused: nothing listens there; check that it runs, and its port")


def probed(connection: socket.socket, host: str, tls: Tls | None) -> Cause | None:
    """What a server that took a connection has against it."""
    try:
        return plain_cause(connection) if tls is None else tls_cause(connection, host, tls)
    except OSError:
        return None


def plain_cause(connection: socket.socket) -> Cause | None:
    """Begins HTTP/2 without TLS."""
    peer = connection.getpeername()
    connection.sendall(HELLO)
    with contextlib.suppress(ConnectionError):
        begin = connection.recv(9)
        if len(begin) == 9 and begin[3] == SETTINGS:
            return None
        if begin.startswith(b"HTTP/"):
            return Cause(
                "NOT_GRPC", "the server speaks HTTP/1.1 and not gRPC; this may be the port of its metrics"
            )
        if begin and begin[0] != TLS_ALERT:
            return Cause("NOT_GRPC", "what listens there does not speak gRPC; check the port")
    if speaks_tls(peer):
        return Cause("TLS", "the server speaks TLS; connect with TLS")
    return None


def speaks_tls(peer: tuple[str, int]) -> bool:
    """Whether a server at this address begins TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(peer[:2], PROBE_SECONDS) as connection,
            context.wrap_socket(connection) as secure,
        ):
            return bool(secure.version())
    except ssl.SSLError as error:
        # It refuses us, but in TLS.
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def tls_cause(connection: socket.socket, host: str, tls: Tls) -> Cause | None:
    """Begins TLS, as the client was told to."""
    why = bad_file(tls)
    try:
        context = None if why else context_of(tls)
    except ssl.SSLError as error:
        why, context = unusable(error), None
    if context is None:
        return Cause("BAD_CERTIFICATE", f"{why}; TLS cannot begin with it")
    name = tls.server_name or host
    try:
        with context.wrap_socket(connection, server_hostname=name) as secure:
            # With TLS 1.3 a server refuses a client's certificate after the handshake.
            secure.recv(1)
    except ssl.SSLCertVerificationError as error:
        return certificate_cause(error, name)
    except ssl.SSLError as error:
        reason = error.reason or ""
        if any(word in reason for word in CERTIFICATE_ALERTS):
            words = "the server wants a client's certificate (mTLS) that it trusts; show one"
            return Cause("CERTIFICATE_REQUIRED", words)
        if reason in NO_TLS:
            return Cause("NO_TLS", "the server does not speak TLS; connect without TLS")
    return None


def bad_file(tls: Tls) -> str:
    """Which of the client's own files is not what it should be; empty if each is."""
    for source, kind, words in (
        (tls.ca, b"CERTIFICATE", "the authority's file holds no certificate (PEM)"),
        (tls.certificate, b"CERTIFICATE", "the client's certificate is no certificate (PEM)"),
        (tls.key, b"PRIVATE KEY", "the client's key is no private key (PEM)"),
    ):
        if source is not None and not re.search(
            b"-----BEGIN [A-Z0-9 ]*" + kind + b"-----", pem(source) or b""
        ):
            return words
    return ""


def unusable(error: ssl.SSLError) -> str:
    """Why files that look right cannot be used."""
    if "MISMATCH" in (error.reason or ""):
        return "the client's key does not belong to its certificate"
    return f"the client's certificate files cannot be used ({error.reason or error})"


def context_of(tls: Tls) -> ssl.SSLContext:
    """The same trust and the same certificate as the client's. Raises ssl.SSLError."""
    authority = pem(tls.ca)
    context = ssl.create_default_context(cadata=authority.decode("ascii", "replace") if authority else None)
    context.set_alpn_protocols(["h2"])
    certificate, key = pem(tls.certificate), pem(tls.key)
    if certificate is not None and key is not None:
        # Python reads these from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            # A key with a password would be asked for at the terminal.
            context.load_cert_chain(file.name, password="")
    return context


def certificate_cause(error: ssl.SSLCertVerificationError, name: str) -> Cause:
    """What is wrong with the server's certificate."""
    why = error.verify_message or str(error)
    if "mismatch" in why.lower() or "not valid for" in why.lower():
        return Cause(
            "WRONG_NAME",
            f"the server's certificate is not for {name}; use a name that it carries, or say which to expect",
        )
    if "expired" in why or "not yet valid" in why:
        return Cause("EXPIRED", f"the server's {why}; renew it, or set this machine's clock")
    return Cause(
        "NOT_TRUSTED", f"the server's certificate is not trusted ({why}); name the authority to trust"
    )
