"""Which targets are this machine, and the proxy that gRPC uses for others."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import threading
from urllib.parse import urlsplit

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""In gRPC's order. gRPC does not read their upper-case forms."""
NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")
LOOKUP_SECONDS = 1.0


def hosts_of(uri: str) -> list[str]:
    """The hosts of a target such as `dns:///HOST:PORT` or `ipv4:IP:PORT,IP:PORT`; empty for a Unix socket."""
    scheme, _, rest = uri.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return []
    addresses = rest.rpartition("/")[2].split(",")
    return [(urlsplit(f"//{address}").hostname or "").rstrip(".") for address in addresses]


def is_local(uri: str) -> bool:
    """Whether the target's hosts are this machine by definition, without looking up names."""
    return all(map(is_local_host, hosts_of(uri)))


def is_local_host(host: str) -> bool:
    """Whether a host always means the local machine: 127.0.0.0/8, ::1, localhost, 0.0.0.0, ::."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = ip_of(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_own(uri: str) -> bool:
    """Whether all hosts are this machine, by name or address. May look up names."""
    return all(is_local_host(host) or is_own_host(host) for host in hosts_of(uri))


def is_own_host(host: str) -> bool:
    """Whether a host is a name or an address of this machine."""
    if host == socket.gethostname().lower():
        return True
    addresses = [host] if ip_of(host) else resolve(host)
    return bool(addresses) and all(map(is_own_address, addresses))


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
    """The IP address, if the host is one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def resolve(host: str) -> list[str]:
    """The addresses of a name; empty if it has none or the lookup takes longer than LOOKUP_SECONDS."""
    addresses: list[str] = []

    def look_up() -> None:
        with contextlib.suppress(OSError, UnicodeError):
            addresses.extend(str(entry[4][0]) for entry in socket.getaddrinfo(host, None))

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    return list(addresses)


def proxy_variable() -> str:
    """The environment variable with gRPC's proxy; empty if none is set."""
    return next((name for name in PROXY_VARIABLES if os.environ.get(name)), "")


def describe_proxy(uri: str) -> str:
    """The proxy that gRPC uses for a target, as text for error messages; empty if it uses none."""
    variable = proxy_variable()
    if not variable or not hosts_of(uri) or any(map(bypasses_proxy, hosts_of(uri))) or is_own(uri):
        return ""
    # Without user and password.
    proxy = os.environ[variable].rpartition("@")[2].rpartition("//")[2]
    return f"the proxy {proxy} ({variable} is set; no_proxy={hosts_of(uri)[0]} bypasses it)"


def bypasses_proxy(host: str) -> bool:
    """Whether the environment excludes a host from the proxy, by a suffix of its name or by a network."""
    entries = next((value for name in NO_PROXY_VARIABLES if (value := os.environ.get(name))), "")
    return any(matches(host, entry.strip()) for entry in entries.split(",") if entry.strip())


def matches(host: str, entry: str) -> bool:
    """Whether an entry of no_proxy applies to a host."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry)
    except ValueError:
        return host.endswith(entry.lower())
