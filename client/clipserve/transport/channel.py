"""How to reach a server: its address, transport security, and the options of the channel."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from clipserve._version import __version__
from clipserve.inputs.files import MAX_SECRET_BYTES, read_regular
from clipserve.safe_text import quoted
from clipserve.transport import forks
from clipserve.transport.proxy import is_local, is_own, proxy_variable

DEFAULT_TARGET = "localhost:8600"
DEFAULT_PORT = 8600
SCHEMES = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "xds:")

Option: TypeAlias = tuple[str, str | int]

SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "clipserve.calls"},
}
"""Calls go to all addresses of the name in turn, not to one pod for the life of the connection; and no more
to a server from the moment that it says it will stop."""


@dataclass(frozen=True)
class Tls:
    """Transport security. Each file may be given as a path or as the PEM bytes themselves.

    Without `ca` the system's authorities are trusted. `certificate` and `key` show who the client is (mTLS).
    """

    ca: str | os.PathLike[str] | bytes | None = None
    certificate: str | os.PathLike[str] | bytes | None = None
    key: str | os.PathLike[str] | bytes | None = None
    server_name: str = ""
    """Name that the server's certificate must carry, where it is not the target's."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and key go together")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files; OSError if one cannot be read."""
        return grpc.ssl_channel_credentials(pem(self.ca), pem(self.key), pem(self.certificate))


def pem(source: str | os.PathLike[str] | bytes | None) -> bytes | None:
    """PEM bytes."""
    return source if source is None or isinstance(source, bytes) else read_regular(source, MAX_SECRET_BYTES)


def target_uri(target: str) -> str:
    """The target as gRPC wants it: `host[:port]` becomes `dns:///host:port`. ValueError for a web address."""
    target = target.strip()
    if target.startswith(SCHEMES):
        return target
    if not target or "://" in target or "/" in target:
        raise ValueError(f"{quoted(target)} is no server; write HOST:PORT, for example {DEFAULT_TARGET}")
    host, colon, port = target.rpartition(":")
    if not colon or port.endswith("]"):
        return f"dns:///{target}:{DEFAULT_PORT}"
    if ":" in host and not host.startswith("["):
        raise ValueError(
            f"{quoted(target)}: write IPv6 addresses in brackets, for example [::1]:{DEFAULT_PORT}"
        )
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{quoted(target)}: the port must be a number from 1 to 65535")
    return f"dns:///{target}"


def channel_options(uri: str, tls: Tls | None = None) -> list[Option]:
    """Options of the channel; the same for sync and async ones."""
    options: list[Option] = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        # Messages are cut by the limits that the server publishes, not by a number of the client's.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # A peer that vanished without a word is noticed within 40 s, also in the middle of a long call.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Reconnecting must be faster than the retries, or they meet a channel that is not even trying.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.primary_user_agent", f"clipserve-python/{__version__}"),
    ]
    if is_local(uri) or (proxy_variable() and is_own(uri)):
        options.append(("grpc.enable_http_proxy", 0))
    if tls is not None and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def open_channel(uri: str, tls: Tls | None = None) -> grpc.Channel:
    """A sync channel; it connects with the first call. Raises ClientNotUsable."""
    forks.opens_channel()
    options = channel_options(uri, tls)
    if tls is None:
        return grpc.insecure_channel(uri, options)
    return grpc.secure_channel(uri, tls.credentials(), options)
