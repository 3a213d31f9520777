"""Which targets are this machine's own, and which proxy gRPC reaches others through."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
from urllib.parse import urlsplit

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""As gRPC looks for them. It does not know them in capitals."""
EXCEPTIONS = ("no_grpc_proxy", "no_proxy")
LOOKUP_SECONDS = 1.0


def hosts_of(uri: str) -> list[str]:
    """The hosts of a target like `dns:///HOST:PORT` or `ipv4:IP:PORT,IP:PORT`; none for a socket file."""
    scheme, _, rest = uri.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return []
    addresses = rest.rpartition("/")[2].split(",")
    return [(urlsplit(f"//{address}").hostname or "").rstrip(".") for address in addresses]


def is_local(uri: str) -> bool:
    """Whether the target's own words say that what is sent there stays on this machine."""
    return all(map(is_local_host, hosts_of(uri)))


def is_local_host(host: str) -> bool:
    """Whether a host means this machine everywhere: 127.0.0.0/8, ::1, localhost, 0.0.0.0, ::."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = ip_of(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_own(uri: str) -> bool:
    """Whether all hosts are this machine, by its names and addresses too. May look names up, for a second."""
    return all(is_local_host(host) or is_own_host(host) for host in hosts_of(uri))


def is_own_host(host: str) -> bool:
    """Whether a host is a name or an address of this machine."""
    if host == socket.gethostname().lower():
        return True
    found = [host] if ip_of(host) else looked_up(host)
    return bool(found) and all(map(is_own_address, found))


def is_own_address(address: str) -> bool:
    """Whether an IP address is one of this machine: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def ip_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is written as."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def looked_up(host: str) -> list[str]:
    """The addresses of a name; none if it has none, or is slow."""
    found: list[str] = []

    def look() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            found.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    return list(found)


def proxy_variable() -> str:
    """The variable of the environment that names a proxy for gRPC; empty if there is none."""
    return next((name for name in PROXY_VARIABLES if os.environ.get(name)), "")


def proxy_for(uri: str) -> str:
    """What a person is told of the proxy that gRPC reaches a target through; empty if through none."""
    variable = proxy_variable()
    if not variable or not hosts_of(uri) or any(map(is_excepted, hosts_of(uri))) or is_own(uri):
        return ""
    # Without a user and a password.
    proxy = os.environ[variable].rpartition("@")[2].rpartition("//")[2]
    return f"the proxy {proxy} ({variable} is set; no_proxy={hosts_of(uri)[0]} goes around it)"


def is_excepted(host: str) -> bool:
    """Whether the environment takes a host out: by the end of its name, or by a network."""
    listed = next((value for name in EXCEPTIONS if (value := os.environ.get(name))), "")
    return any(matches(host, entry.strip()) for entry in listed.split(",") if entry.strip())


def matches(host: str, entry: str) -> bool:
    """Whether an entry of no_proxy fits a host."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry)
    except ValueError:
        return host.endswith(entry.lower())
