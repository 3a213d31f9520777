"""TLS of the gRPC port, with certificates that are reloaded when their files change."""

from __future__ import annotations

import ssl

import grpc

from clipserve_gateway.process.watched_files import BadFile, Watched, read_bytes
from clipserve_gateway.settings import Settings


class ServerTls:
    """Credentials of the gRPC port.

    New connections use the files as they were last loaded. Existing connections keep their certificate until
    they are renewed (max_connection_age_seconds).
    """

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile, which names the setting."""
        files = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        self.wants_client_certificates = bool(settings.tls_client_ca)
        self.files = Watched([path for path in files if path], lambda: read_configuration(settings))
        self._used = self.files.value

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for one call of `add_secure_port`."""
        return grpc.dynamic_ssl_server_credentials(
            self._used, self._changed, require_client_authentication=self.wants_client_certificates
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The configuration for new connections; None if it has not changed. Called by threads of gRPC."""
        if self.files.value is self._used:
            return None
        self._used = self.files.value
        return self._used


def server_tls(settings: Settings) -> ServerTls | None:
    """TLS as the settings ask for it; None for plain text. Raises BadFile if a setting is missing."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        missing = "tls_key" if settings.tls_certificate else "tls_certificate"
        raise BadFile(f"{missing}: not set; a certificate and its key must be set together")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise BadFile("tls_client_ca: tls_certificate and tls_key must be set too")
    return ServerTls(settings) if settings.tls_certificate else None


def read_configuration(settings: Settings) -> grpc.ServerCertificateConfiguration:
    """The configuration in the files. Raises BadFile if it is not valid."""
    certificate = read_bytes(settings.tls_certificate, "tls_certificate")
    key = read_bytes(settings.tls_key, "tls_key")
    authorities = read_bytes(settings.tls_client_ca, "tls_client_ca") if settings.tls_client_ca else None
    check_certificates(settings.tls_certificate, "tls_certificate")
    check_pair(settings.tls_certificate, settings.tls_key)
    if authorities is not None:
        check_certificates(settings.tls_client_ca, "tls_client_ca")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)


def check_certificates(path: str, setting: str) -> None:
    """Raises BadFile unless the file holds a certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise BadFile(f"{setting}: {path} does not hold a certificate in PEM format") from error


def check_pair(certificate: str, key: str) -> None:
    """Raises BadFile unless the key belongs to the certificate."""
    try:
        # Without a password, OpenSSL would ask for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise BadFile(f"tls_key: {key} is not the key of {certificate}") from error
        raise BadFile(
            f"tls_key: {key} does not hold a private key in PEM format without a password"
        ) from error
