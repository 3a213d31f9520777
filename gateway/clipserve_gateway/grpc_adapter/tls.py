"""TLS of the gRPC port, with certificates that are reloaded when their files change."""

from __future__ import annotations

import grpc

from clipserve_gateway.process.tls import ServerTls, TlsFiles


class GrpcTls:
    """Credentials of the gRPC port.

    New connections use the files as they were last read. Existing connections keep their certificate until
    they are renewed (max_connection_age_seconds).
    """

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._used = tls.files.value

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for one call of `add_secure_port`."""
        return grpc.dynamic_ssl_server_credentials(
            configuration(self._used),
            self._changed,
            require_client_authentication=self._tls.wants_client_certificates,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The configuration for new connections; None if it has not changed. Called by threads of gRPC."""
        files = self._tls.files.value
        if files is self._used:
            return None
        self._used = files
        return configuration(files)


def configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """The files' content in gRPC's form."""
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.certificate)], root_certificates=files.authorities
    )
