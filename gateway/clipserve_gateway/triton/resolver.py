"""Where Triton's replicas are: names resolved to addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket

from clipserve_gateway.settings import parse_endpoints

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 5.0
"""How long one look-up may take."""


class Resolver:
    """Looks up the endpoints again and again; a name that cannot be looked up keeps what it had."""

    def __init__(self, target: str) -> None:
        self._endpoints = parse_endpoints(target)
        self._found: dict[str, list[str]] = {}

    async def addresses(self) -> list[str]:
        """Every `ip:port` behind the endpoints, once, in a stable order."""
        answers = await asyncio.gather(*map(self._one, self._endpoints))
        return list(dict.fromkeys(address for answer in answers for address in answer))

    async def _one(self, endpoint: str) -> list[str]:
        if endpoint.startswith("unix:"):
            return [endpoint]
        host, _, port = endpoint.rpartition(":")
        if is_address(host):
            return [endpoint]
        looking = asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        try:
            self._found[endpoint] = addresses_of(await asyncio.wait_for(looking, RESOLVE_SECONDS))
        except (OSError, asyncio.TimeoutError) as error:
            log.debug("cannot look up %s: %s", host, error)
        return self._found.get(endpoint, [])


def is_address(host: str) -> bool:
    """Whether there is nothing to look up."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def addresses_of(answer: list[tuple]) -> list[str]:
    """`ip:port` of each entry; of a host with addresses of both kinds the IPv4 ones, lest it counts twice."""
    fours = sorted({entry[4][:2] for entry in answer if entry[0] == socket.AF_INET})
    sixes = sorted({entry[4][:2] for entry in answer if entry[0] == socket.AF_INET6})
    return [f"{ip}:{port}" for ip, port in fours] or [f"[{ip}]:{port}" for ip, port in sixes]
