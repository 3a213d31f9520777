"""Ports of this machine that nobody listens on."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import Sequence
from pathlib import Path

from clipserve_gateway.process.listeners import taken

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST, HIGHEST = 15_000, 65_535
"""Below the lowest are ports of well-known services."""
ENOUGH = 1_000
"""Ports that there must be to choose from."""
TRIES = 200


class PortInUse(Exception):
    """Ports that somebody else listens on, or that this user may not use.

    Attributes:
        problems: a sentence for each port: who has it, and what to do.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def free_ports(*wanted: int, options: Sequence[str] = ()) -> list[int]:
    """The wanted ports, with a free one for each 0, no two alike; PortInUse for those that are taken.

    `options` are the names of the command-line options that set them. Who takes one of these ports seconds
    later is somebody who wants just that: no outgoing connection gets one from the kernel.
    """
    names = [*options, *["another option"] * len(wanted)]
    problems: list[str] = []
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in wanted]
        # Those that are given come first, so that none of them is chosen for another.
        for probe, port, name in sorted(zip(probes, wanted, names, strict=False), key=lambda it: not it[1]):
            if not port:
                bind_free(probe)
            elif problem := bind(probe, port, name):
                problems.append(problem)
        if problems:
            raise PortInUse(*problems)
        return [int(probe.getsockname()[1]) for probe in probes]


def bind(probe: socket.socket, port: int, option: str) -> str:
    """Binds to a port that was given; why that cannot be, or empty."""
    # Connections that have ended keep a port from being bound for a minute otherwise. A port that is chosen
    # goes without: two sockets with this option may be bound to one port.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return taken(port, option)
        return f"port {port} cannot be used ({error.strerror}); choose another one with {option}"
    return ""


def bind_free(probe: socket.socket) -> None:
    """Binds to a free port that the kernel gives to no outgoing connection; if there is none, to any."""
    first, last = choice(EPHEMERAL)
    for _ in range(TRIES if last - first >= ENOUGH else 0):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randint(first, last)))
            return
    probe.bind(("127.0.0.1", 0))


def choice(ephemeral: Path) -> tuple[int, int]:
    """The first and the last port to choose from: outside of the kernel's range for outgoing connections."""
    try:
        low, high = (int(word) for word in ephemeral.read_text().split())
    except (OSError, ValueError):
        low, high = 32_768, 60_999
    below, above = (LOWEST, low - 1), (high + 1, HIGHEST)
    return below if below[1] - below[0] >= ENOUGH else above


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(0)[0]
