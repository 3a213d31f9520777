"""The gRPC port and the HTTP port of a gateway."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

import grpc
from prometheus_client import CollectorRegistry

from clipserve_gateway.grpc_adapter.security import Security
from clipserve_gateway.http_server.operations import Check, OperationsServer
from clipserve_gateway.process.listeners import listens, taken
from clipserve_gateway.settings import Settings


class PortTaken(Exception):
    """The gateway cannot listen on the address."""


def taken_ports(settings: Settings) -> list[str]:
    """One sentence for each port of the settings on which another process listens."""
    ports = {"--port": settings.port, "--http-port": settings.http_port}
    return [taken(port, option) for option, port in ports.items() if port and listens(port)]


def listen_grpc(settings: Settings, security: Security, server: grpc.aio.Server) -> int:
    """Makes the server listen; returns its port. Raises PortTaken."""
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


def listen_http(
    settings: Settings,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    pages: Mapping[str, Callable[[], str]],
) -> OperationsServer:
    """A listening server of the HTTP pages. `checks` and `pages` are by path. Raises PortTaken."""
    host, port = settings.http_host or settings.host, settings.http_port
    try:
        return OperationsServer(host, port, registry, checks, pages)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(taken(port, "--http-port")) from error
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another address with --http-host and "
            "--http-port"
        ) from error
