"""TLS and tokens of one gateway."""

from __future__ import annotations

import logging

import grpc

from clipserve_gateway.access.token_gate import TokenGate
from clipserve_gateway.grpc_adapter.tls import GrpcTls
from clipserve_gateway.process.file_modes import warn_of_secrets
from clipserve_gateway.process.tls import server_tls
from clipserve_gateway.process.watched_files import watch
from clipserve_gateway.setting_values import is_loopback
from clipserve_gateway.settings import Settings

log = logging.getLogger(__name__)

SECRET_FILES = ("token_file", "tls_key", "milvus_token_file", "triton_headers_file")
"""Settings that name a file with a secret."""


class Security:
    """TLS and tokens as the settings ask for them."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile, which names the setting, for a file that is not valid."""
        self._settings = settings
        self.tls = server_tls(settings)
        self.gate = TokenGate(settings)

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Makes the server listen; returns the port. Raises RuntimeError."""
        if self.tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, GrpcTls(self.tls).credentials()))

    @property
    def words(self) -> str:
        """What protects the ports of the API, for people."""
        if self.tls is None:
            connection = "no TLS"
        else:
            connection = "TLS with client certificates" if self.tls.wants_client_certificates else "TLS"
        return f"{connection}, {'no tokens' if self.gate.tokens is None else 'tokens'}"

    def warn(self) -> None:
        """Warns in the log of tokens sent without TLS, and of secrets that other users can read."""
        settings = self._settings
        warn_of_secrets([(name, getattr(settings, name)) for name in SECRET_FILES])
        hosts = [settings.host]
        if settings.api_port is not None and settings.api_host:
            hosts.append(settings.api_host)
        open_hosts = [host for host in hosts if not is_loopback(host)]
        if settings.token_file and self.tls is None and open_hosts:
            log.warning(
                "token_file is set without tls_certificate: tokens travel to %s in the clear",
                " and ".join(open_hosts),
            )

    async def watch(self) -> None:
        """Reloads certificates and tokens when their files change. Runs until it is cancelled."""
        files = (self.tls.files if self.tls else None, self.gate.tokens)
        await watch([watched for watched in files if watched is not None])
