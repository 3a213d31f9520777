"""Excludes this machine from the environment's HTTP proxy, which gRPC otherwise uses for every target."""

from __future__ import annotations

import socket

from clipserve_gateway.settings import change_environment, host_environment

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""In gRPC's order. gRPC does not read their names in capitals."""
THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
DIRECT = "grpc.enable_http_proxy"
"""Option of a gRPC channel; 0 turns the proxy off."""


def proxy_hint(target: str) -> str:
    """A log message about the proxy that gRPC uses for HOST:PORT; empty if it uses none.

    May resolve the host if a proxy is set.
    """
    environment = host_environment()
    variable = next((name for name in PROXY_VARIABLES if environment.get(name)), "")
    if not variable or target.startswith("unix:") or is_own(host_of(target)):
        return ""
    # Without user and password.
    proxy = environment[variable].rpartition("@")[2].rpartition("//")[2]
    return f"{variable} is set: {target} is reached through proxy {proxy} unless no_proxy names its host"


def channel_options(target: str) -> list[tuple[str, object]]:
    """Options of a channel to HOST:PORT, which turn the proxy off for hosts of this machine."""
    return [] if proxy_hint(target) else [(DIRECT, 0)]


def host_of(target: str) -> str:
    """The host of HOST:PORT, or of SCHEME://HOST:PORT."""
    return target.rpartition("//")[2].rpartition(":")[0].strip("[]")


def is_own(host: str) -> bool:
    """Whether a host is a name or address of this machine. Only its own addresses can be bound."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return False
    return bool(addresses) and all(can_bind(entry[0], entry[4]) for entry in addresses)


def can_bind(family: int, address: tuple) -> bool:
    """Whether a socket can be bound to the address."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def except_this_machine() -> None:
    """Excludes this machine from the proxy for all libraries of this process, for example for a local S3."""
    environment = host_environment()
    names = {name.lower() for name, value in environment.items() if value}
    if not names & {*PROXY_VARIABLES, "all_proxy"}:
        return
    listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if listed.strip() != "*":
        entries = [entry.strip() for entry in listed.split(",") if entry.strip()]
        listed = ",".join(dict.fromkeys((*entries, *THIS_MACHINE)))
        change_environment(no_proxy=listed, NO_PROXY=listed)
