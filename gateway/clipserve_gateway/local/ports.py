"""Free ports of this machine."""

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
"""Ports of well-known services are lower."""
MIN_CHOICE = 1_000
"""Size of a range of ports to choose from."""
TRIES = 200


class PortInUse(Exception):
    """Ports that another process listens on, or that this user has no permission for.

    Attributes:
        problems: a sentence for each port: the process that has it, and what to do.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def free_ports(*wanted: int, options: Sequence[str] = ()) -> list[int]:
    """The wanted ports, with a free one for each 0, all different. Raises PortInUse if one is taken.

    `options` are the command-line options that set them. The kernel gives none of the free ports to an
    outgoing connection, so only a process that asks for that very port can take it later.
    """
    names = [*options, *["another option"] * len(wanted)]
    problems: list[str] = []
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in wanted]
        # Given ports first, so that none of them is chosen as a free one.
        for probe, port, name in sorted(
            zip(probes, wanted, names, strict=False), key=lambda wish: not wish[1]
        ):
            if not port:
                bind_free(probe)
            elif problem := bind(probe, port, name):
                problems.append(problem)
        if problems:
            raise PortInUse(*problems)
        return [int(probe.getsockname()[1]) for probe in probes]


def bind(probe: socket.socket, port: int, option: str) -> str:
    """Binds to a given port; returns the problem, or an empty string."""
    # Without this option, connections that have ended block the port for a minute. A chosen port does not use
    # it: two sockets with this option can be bound to one port.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return taken(port, option)
        return f"port {port} cannot be used ({error.strerror}); choose another one with {option}"
    return ""


def bind_free(probe: socket.socket) -> None:
    """Binds to a free port that the kernel gives to no outgoing connection, or else to any free port."""
    first, last = port_range(EPHEMERAL)
    for _ in range(TRIES if last - first >= MIN_CHOICE else 0):
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randint(first, last)))
            return
    probe.bind(("127.0.0.1", 0))


def port_range(ephemeral: Path) -> tuple[int, int]:
    """The first and the last port to choose from, outside the kernel's range for outgoing connections."""
    try:
        low, high = (int(word) for word in ephemeral.read_text().split())
    except (OSError, ValueError):
        low, high = 32_768, 60_999
    below, above = (LOWEST, low - 1), (high + 1, HIGHEST)
    return below if below[1] - below[0] >= MIN_CHOICE else above
