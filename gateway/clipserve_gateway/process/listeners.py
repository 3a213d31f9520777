"""Finds the process that listens on a port of this machine, in /proc."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"
"""State TCP_LISTEN in /proc/net/tcp."""
INTERPRETER = re.compile(r"python[\d.]*")
SOCKET = re.compile(r"socket:\[(\d+)\]")


def taken(port: int, option: str, proc: Path = PROC) -> str:
    """The message for a port that is in use. `option` is the command-line option that sets the port."""
    return (
        f"port {port} is taken by {holder(port, proc)}; stop that, or choose another port with {option} "
        f"(0 takes a free one; of `make serve`: ARGS='{option} 0')"
    )


def holder(port: int, proc: Path = PROC) -> str:
    """The pid and command of the processes that listen on a TCP port; or why they are not known."""
    inodes = set(listening_inodes(port, proc))
    if not inodes:
        return "a process that this machine does not show"
    pids = sorted(pid for pid in process_ids(proc) if inodes & set(socket_inodes(pid, proc)))
    if not pids:
        return "another user's process"
    return " and ".join(named(pid, proc) for pid in pids[:3])


def named(pid: int, proc: Path) -> str:
    """A process's pid and command. For a Triton also its parent, which is the process to stop."""
    words = f"pid {pid} ({command(pid, proc)})"
    parent = parent_of(pid, proc)
    if Path(command(pid, proc)).name != "tritonserver" or parent <= 1:
        return words
    return f"{words}, which pid {parent} ({command(parent, proc)}) has started"


def parent_of(pid: int, proc: Path) -> int:
    """The pid of a process's parent; 0 if it is not known."""
    fields = stat_fields(pid, proc)
    return int(fields[1]) if fields else 0


def stat_fields(pid: int, proc: Path) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent and so on. Empty for an ended process."""
    try:
        # The name, which may contain any character, is in parentheses.
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def listens(port: int, proc: Path = PROC) -> bool:
    """Whether a process listens on a TCP port of this machine, on any address."""
    return any(True for _ in listening_inodes(port, proc))


def listening_inodes(port: int, proc: Path) -> Iterator[str]:
    """Inodes of the sockets that listen on a port, over IPv4 and IPv6."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            # A machine without IPv6 has no tcp6.
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def process_ids(proc: Path) -> list[int]:
    """The pids of all visible processes."""
    return [int(folder.name) for folder in proc.iterdir() if folder.name.isdigit()]


def socket_inodes(pid: int, proc: Path) -> Iterator[str]:
    """Inodes of a process's sockets; none if it has ended or belongs to another user."""
    try:
        descriptors = list((proc / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            match = SOCKET.fullmatch(str(descriptor.readlink()))
        except OSError:
            continue
        if match:
            yield match[1]


def command(pid: int, proc: Path) -> str:
    """The name of a process's command; for an interpreter, the script and its first argument."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        names = [Path(word).name for word in words if word and not word.startswith("-")]
        shown = names[1:3] if names and INTERPRETER.fullmatch(names[0]) else names[:1]
        return " ".join(shown or names) or (proc / str(pid) / "comm").read_text().strip()
    except OSError:
        return "unknown"
