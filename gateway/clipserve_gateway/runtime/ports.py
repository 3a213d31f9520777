"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import contextlib
import socket


class PortInUse(Exception):
    """Somebody else listens on the port."""


def free_ports(*wanted: int) -> list[int]:
    """The wanted ports, with a free one for each 0, no two alike; PortInUse if a wanted one is taken."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in wanted]
        for probe, port in zip(probes, wanted, strict=True):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise PortInUse(f"port {port} is taken ({error.strerror}); choose another one") from error
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(0)[0]
