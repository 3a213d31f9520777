"""TLS of the ports, with files that are read again when they change."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from clipserve_gateway.process.watched_files import BadFile, Watched, read_bytes
from clipserve_gateway.settings import Settings


@dataclass(frozen=True, eq=False)
class TlsFiles:
    """The content of the files.

    Attributes:
        certificate: PEM, the chain of this server.
        key: PEM, not encrypted.
        authorities: PEM of the authorities of client certificates; None if clients need no certificate.
        context: the same, for Python's servers.
    """

    certificate: bytes
    key: bytes
    authorities: bytes | None
    context: ssl.SSLContext


class ServerTls:
    """TLS of all ports of one gateway. New connections use the files as they were last read."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile, which names the setting."""
        files = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        self.wants_client_certificates = bool(settings.tls_client_ca)
        self.files = Watched([path for path in files if path], lambda: read_files(settings))

    def context(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self.files.value.context


def server_tls(settings: Settings) -> ServerTls | None:
    """TLS as the settings ask for it; None for plain text. Raises BadFile if a setting is missing."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        missing = "tls_key" if settings.tls_certificate else "tls_certificate"
        raise BadFile(f"{missing}: not set; a certificate and its key must be set together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise BadFile("tls_client_ca: tls_certificate and tls_key must be set too")
    return ServerTls(settings) if settings.tls_certificate else None


def read_files(settings: Settings) -> TlsFiles:
    """The content of the files. Raises BadFile if it is not valid."""
    certificate = read_bytes(settings.tls_certificate, "tls_certificate")
    key = read_bytes(settings.tls_key, "tls_key")
    authorities = read_bytes(settings.tls_client_ca, "tls_client_ca") if settings.tls_client_ca else None
    load_authorities(new_context(), settings.tls_certificate, "tls_certificate")
    context = new_context()
    load_pair(context, settings.tls_certificate, settings.tls_key)
    if authorities is not None:
        load_authorities(context, settings.tls_client_ca, "tls_client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return TlsFiles(certificate, key, authorities, context)


def new_context() -> ssl.SSLContext:
    """A server's context without files: TLS 1.2 or newer, HTTP/1.1, no renegotiation."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def load_authorities(context: ssl.SSLContext, path: str, setting: str) -> None:
    """Loads the certificates in the file. Raises BadFile unless it holds one."""
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise BadFile(f"{setting}: {path} does not hold a certificate in PEM format") from error


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Loads a certificate and its key. Raises BadFile unless they belong together."""
    try:
        # Without a password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise BadFile(f"tls_key: {key} is not the key of {certificate}") from error
        raise BadFile(
            f"tls_key: {key} does not hold a private key in PEM format without a password"
        ) from error
