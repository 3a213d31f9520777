"""What protects one gateway's port, put together from its settings."""

from __future__ import annotations

import ipaddress
import logging

import grpc

from clipserve_gateway.access.authorizer import Judge, ModelNames, Names
from clipserve_gateway.access.caller import visible
from clipserve_gateway.access.token_gate import Gate
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.file_modes import warn_of_secrets
from clipserve_gateway.process.watched_files import watch
from clipserve_gateway.servicers.access_interceptor import AccessInterceptor
from clipserve_gateway.servicers.tls import server_tls
from clipserve_gateway.settings import Settings

log = logging.getLogger(__name__)


class Security:
    """TLS and tokens, as the settings want them."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadFile, which names the setting, for files that cannot be used."""
        self._host = settings.host
        names = ("token_file", "tls_key", "milvus_token_file", "triton_headers_file")
        self._secrets = [(name, getattr(settings, name)) for name in names]
        self._tls = server_tls(settings)
        self._gate = Gate(settings)

    def interceptor(self, names: Names, models: ModelNames, metrics: Metrics) -> AccessInterceptor:
        """Lets calls in, and judges their requests; `names` knows the collections."""
        return AccessInterceptor(self._gate, Judge(self._gate, names, models, metrics), metrics)

    def shows_model(self, name: str) -> bool:
        """Whether the caller that is being served may know of the model of that name."""
        return visible.model(name)

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Lets the server listen; the port, or RuntimeError."""
        if self._tls is None:
            return int(server.add_insecure_port(address))
        return int(server.add_secure_port(address, self._tls.credentials()))

    @property
    def words(self) -> str:
        """For people: what protects the port."""
        if self._tls is None:
            connection = "no TLS"
        else:
            connection = "TLS with client certificates" if self._tls.wants_client_certificates else "TLS"
        return f"{connection}, {'no tokens' if self._gate.tokens is None else 'tokens'}"

    def warn(self) -> None:
        """Says in the log what cannot be meant, and which secrets others may read."""
        warn_of_secrets(self._secrets)
        if self._gate.tokens is not None and self._tls is None and not is_loopback(self._host):
            log.warning(
                "token_file is set and tls_certificate is not: tokens travel to %s in the clear", self._host
            )

    async def watch(self) -> None:
        """Reads certificates and tokens again when they change. Runs until it is cancelled."""
        files = (self._tls.files if self._tls else None, self._gate.tokens)
        await watch([watched for watched in files if watched is not None])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
