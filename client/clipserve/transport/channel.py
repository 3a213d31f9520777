"""How to connect to a server: its address, TLS, and the options of the channel."""

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
"""Calls are distributed over all addresses of the name, instead of one for the whole connection. A server
that reports its shutdown gets no more calls."""


@dataclass(frozen=True)
class Tls:
    """TLS settings. Each file is a path or the PEM bytes.

    Without `ca`, the system's certificate authorities are trusted. `certificate` and `key` are the client's
    own (mTLS).
    """

    ca: str | os.PathLike[str] | bytes | None = None
    certificate: str | os.PathLike[str] | bytes | None = None
    key: str | os.PathLike[str] | bytes | None = None
    server_name: str = ""
    """Expected name in the server's certificate, if it differs from the target's host name."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate needs both certificate and key")

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files. Raises OSError if one cannot be read."""
        return grpc.ssl_channel_credentials(pem(self.ca), pem(self.key), pem(self.certificate))


def pem(source: str | os.PathLike[str] | bytes | None) -> bytes | None:
    """The PEM bytes of a path or bytes. Raises OSError."""
    return source if source is None or isinstance(source, bytes) else read_regular(source, MAX_SECRET_BYTES)


def target_uri(target: str) -> str:
    """The target as a gRPC URI: `host[:port]` becomes `dns:///host:port`. Raises ValueError for others."""
    target = target.strip()
    if target.startswith(SCHEMES):
        return target
    if not target or "://" in target or "/" in target:
        raise ValueError(f"{quoted(target)} is not a server address; write HOST:PORT, e.g. {DEFAULT_TARGET}")
    host, colon, port = target.rpartition(":")
    if not colon or port.endswith("]"):
        return f"dns:///{target}:{DEFAULT_PORT}"
    if ":" in host and not host.startswith("["):
        raise ValueError(f"{quoted(target)}: write IPv6 addresses in brackets, e.g. [::1]:{DEFAULT_PORT}")
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{quoted(target)}: the port must be a number from 1 to 65535")
    return f"dns:///{target}"


def channel_options(uri: str, tls: Tls | None = None) -> list[Option]:
    """Options of a sync or async channel."""
    options: list[Option] = [
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
        # The server's limits apply, not gRPC's defaults.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        # Detects a dead peer within 40 s, also during a long call.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Reconnect faster than calls are retried, so that retries do not fail without an attempt to connect.
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
    """A sync channel. It connects with the first call. Raises ClientNotUsable."""
    forks.before_channel()
    options = channel_options(uri, tls)
    if tls is None:
        return grpc.insecure_channel(uri, options)
    return grpc.secure_channel(uri, tls.credentials(), options)
