"""Resolves the names of Triton replicas to addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket

from clipserve_gateway.setting_values import parse_endpoints

log = logging.getLogger(__name__)

RESOLVE_SECONDS = 5.0
"""Time limit of one DNS query."""


class Resolver:
    """Resolves the endpoints at each call. A name that cannot be resolved keeps its last addresses."""

    def __init__(self, target: str) -> None:
        self._endpoints = parse_endpoints(target)
        self._last: dict[str, list[str]] = {}

    async def addresses(self) -> list[str]:
        """Every `ip:port` of the endpoints, once, in a stable order."""
        answers = await asyncio.gather(*map(self._one, self._endpoints))
        return list(dict.fromkeys(address for answer in answers for address in answer))

    async def _one(self, endpoint: str) -> list[str]:
        if endpoint.startswith("unix:"):
            return [endpoint]
        host, _, port = endpoint.rpartition(":")
        if is_address(host):
            return [endpoint]
        query = asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        try:
            self._last[endpoint] = addresses_of(await asyncio.wait_for(query, RESOLVE_SECONDS))
        except (OSError, asyncio.TimeoutError) as error:
            log.debug("cannot resolve %s: %s", host, error)
        return self._last.get(endpoint, [])


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def addresses_of(answer: list[tuple]) -> list[str]:
    """`ip:port` of each entry; only IPv4 if a host has both kinds, so that it counts once."""
    fours = sorted({entry[4][:2] for entry in answer if entry[0] == socket.AF_INET})
    sixes = sorted({entry[4][:2] for entry in answer if entry[0] == socket.AF_INET6})
    return [f"{ip}:{port}" for ip, port in fours] or [f"[{ip}]:{port}" for ip, port in sixes]
