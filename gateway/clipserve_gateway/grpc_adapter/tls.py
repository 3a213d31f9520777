"""The server's side of TLS, with certificates that are read again when their files change."""

from __future__ import annotations

import ssl

import grpc

from clipserve_gateway.process.watched_files import BadFile, Watched, read_bytes
from clipserve_gateway.settings import Settings


class ServerTls:
    """Credentials of the gateway's port.

    New connections get what the files held when they were last looked at; those there are keep what they have
    until they are renewed (max_connection_age_seconds).
    """

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile, which names the setting."""
        files = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        self.wants_client_certificates = bool(settings.tls_client_ca)
        self.files = Watched([path for path in files if path], lambda: read_configuration(settings))
        self._used = self.files.value

    def credentials(self) -> grpc.ServerCredentials:
        """For `add_secure_port`; belongs to one port."""
        return grpc.dynamic_ssl_server_credentials(
            self._used, self._changed, require_client_authentication=self.wants_client_certificates
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """What a new connection is to use, if it is not what the last one used. Called by gRPC's threads."""
        if self.files.value is self._used:
            return None
        self._used = self.files.value
        return self._used


def server_tls(settings: Settings) -> ServerTls | None:
    """TLS as the settings want it, None for plaintext; BadFile for settings that do not go together."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        missing = "tls_key" if settings.tls_certificate else "tls_certificate"
        raise BadFile(f"{missing}: a certificate and its key go together, and this one is not set")
    if settings.tls_client_ca and not settings.tls_certificate:
        raise BadFile("tls_client_ca: it needs tls_certificate and tls_key beside it")
    return ServerTls(settings) if settings.tls_certificate else None


def read_configuration(settings: Settings) -> grpc.ServerCertificateConfiguration:
    """What the files hold, if it can be used."""
    certificate = read_bytes(settings.tls_certificate, "tls_certificate")
    key = read_bytes(settings.tls_key, "tls_key")
    authorities = read_bytes(settings.tls_client_ca, "tls_client_ca") if settings.tls_client_ca else None
    check_certificates(settings.tls_certificate, "tls_certificate")
    check_pair(settings.tls_certificate, settings.tls_key)
    if authorities is not None:
        check_certificates(settings.tls_client_ca, "tls_client_ca")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)


def check_certificates(path: str, setting: str) -> None:
    """BadFile unless the file holds a certificate."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise BadFile(f"{setting}: {path} holds no certificate in PEM form") from error


def check_pair(certificate: str, key: str) -> None:
    """BadFile unless the key is the certificate's."""
    try:
        # An encrypted key must not stop at a prompt.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise BadFile(f"tls_key: {key} is not the key of {certificate}") from error
        raise BadFile(f"tls_key: {key} holds no private key in PEM form without a password") from error
