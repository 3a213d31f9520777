"""How many cores a tower's instance uses while others of the same Triton are at work."""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

EXECUTABLE = Path("/proc/self/exe")
PID_BITS = 22
"""Linux has no process numbers above 2^22."""
FLOCK = struct.Struct("hhqqi4x")
"""C's struct flock on 64-bit Linux: type, whence, start, length, process."""


class SharedCores:
    """The cores of all Python processes of one Triton: alone, one has them all; else each an equal part.

    Two that encode a batch each, on half of the cores, do more than one on all of them: nobody waits for the
    slowest at the end of each layer. Few rows are encoded soonest by all cores.

    Who is at work holds a lock on a byte of its own executable, which the kernel takes back when a process
    ends, however it ends. The byte's number is made of the Triton's process and its own: so nothing is
    written, and other Tritons on the same file are not counted.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._first = os.getppid() << PID_BITS
        self._own = self._first + os.getpid()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[int]:
        """Counts this process as one at work; yields how many cores it should use, at least 1.

        All of them where the executable cannot be opened, or its file system has no locks.
        """
        others = 0
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                # Closing it takes the lock back.
                file = held.enter_context(EXECUTABLE.open("rb", buffering=0))
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, self._own)
                others = locks_of_others(file, self._first, self._first + (1 << PID_BITS))
            yield max(1, self.cores // (1 + others))


def locks_of_others(file: BinaryIO, first: int, end: int) -> int:
    """How many there are on these bytes. The kernel names one at a time, not always the first."""
    if first >= end:
        return 0
    question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, end - first, 0)
    kind, _, found, _, _ = FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, question))
    if kind == fcntl.F_UNLCK:
        return 0
    return locks_of_others(file, first, found) + 1 + locks_of_others(file, found + 1, end)


def granted_cores() -> int:
    """Cores that this process may use: affinity and the control group's quota, at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return max(1, int(cores))


def threads_of(setting: str, groups: Sequence[dict[str, Any]]) -> int:
    """Threads of one instance; 0 where all instances share the cores.

    `split` gives each instance an equal part of the cores that this machine has.
    """
    if setting != "split":
        return int(setting)
    instances = sum(int(group["count"]) for group in groups)
    return max(1, granted_cores() // max(1, instances))
