"""The two ports of a gateway, as its settings name them."""

from __future__ import annotations

import errno
from collections.abc import Mapping

import grpc
from prometheus_client import CollectorRegistry

from clipserve_gateway.grpc_adapter.security import Security
from clipserve_gateway.process.http import Check, HttpServer
from clipserve_gateway.process.listeners import listens, taken
from clipserve_gateway.settings import Settings


class PortTaken(Exception):
    """The address cannot be listened on."""


def taken_ports(settings: Settings) -> list[str]:
    """A sentence for each port that the settings name and that another process listens on."""
    given = {"--port": settings.port, "--http-port": settings.http_port}
    return [taken(port, option) for option, port in given.items() if port and listens(port)]


def listen_grpc(settings: Settings, security: Security, server: grpc.aio.Server) -> int:
    """Lets the server listen; its port. Raises PortTaken."""
    address = f"{settings.host}:{settings.port}"
    try:
        port = security.add_port(server, address)
    except RuntimeError:
        port = 0
    if port == 0 and listens(settings.port):
        raise PortTaken("\n".join(taken_ports(settings)))
    if port == 0:
        raise PortTaken(f"cannot listen on {address}; choose another address with --host and --port")
    return port


def listen_http(settings: Settings, registry: CollectorRegistry, checks: Mapping[str, Check]) -> HttpServer:
    """A server of the HTTP pages that listens; `checks` by path. Raises PortTaken."""
    host, port = settings.http_host or settings.host, settings.http_port
    try:
        return HttpServer(host, port, registry, checks)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(taken(port, "--http-port")) from error
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another address with --http-host and "
            "--http-port"
        ) from error
