"""The ports of a gateway: gRPC, the API over HTTP, and operations."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from clipserve_gateway.grpc_adapter.security import Security
from clipserve_gateway.http_server.limits import HttpLimits
from clipserve_gateway.http_server.operations import Check, OperationsServer
from clipserve_gateway.http_server.server import WebServer, listen
from clipserve_gateway.process.listeners import listens, taken
from clipserve_gateway.settings import Settings


class PortTaken(Exception):
    """The gateway cannot listen on the address."""


def taken_ports(settings: Settings) -> list[str]:
    """One sentence for each port of the settings on which another process listens."""
    ports = {"--port": settings.port, "--http-port": settings.http_port, "--api-port": settings.api_port}
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


def listen_api(settings: Settings, security: Security, app: Callable[..., Any]) -> WebServer:
    """A listening server of the API over HTTP. `app` is an ASGI application. Raises PortTaken."""
    assert settings.api_port is not None, "off"
    host = settings.api_host or settings.host
    limits = HttpLimits(
        connections=settings.max_api_connections, age_seconds=settings.max_connection_age_seconds
    )
    with told_if_taken(host, settings.api_port, "api"):
        listener = listen(host, settings.api_port)
    return WebServer(app, listener, limits, security.tls.context if security.tls else None)


def listen_operations(
    settings: Settings,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    pages: Mapping[str, Callable[[], str]],
) -> OperationsServer:
    """A listening server of /metrics and other pages. `checks` and `pages` are by path. Raises PortTaken."""
    host, port = settings.http_host or settings.host, settings.http_port
    with told_if_taken(host, port, "http"):
        return OperationsServer(host, port, registry, checks, pages)


@contextlib.contextmanager
def told_if_taken(host: str, port: int, name: str) -> Iterator[None]:
    """Raises PortTaken if the block cannot listen. `name` is that of the options, e.g. `http`."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(taken(port, f"--{name}-port")) from error
        raise PortTaken(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another address with --{name}-host "
            f"and --{name}-port"
        ) from error
