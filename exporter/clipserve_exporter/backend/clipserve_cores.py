"""How many cores a tower's instance uses while others of the same Triton are at work."""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

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
        self._file = os.open("/proc/self/exe", os.O_RDONLY)
        self._first = os.getppid() << PID_BITS
        self._own = self._first + os.getpid()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[int]:
        """Counts this process as one at work; yields how many cores it should use, at least 1.

        All of them where the file system has no locks.
        """
        try:
            fcntl.lockf(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, self._own)
        except OSError:
            yield self.cores
            return
        try:
            yield max(1, self.cores // (1 + self._others(self._first, self._first + (1 << PID_BITS))))
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._own)

    def _others(self, first: int, end: int) -> int:
        """Locks of others on these bytes. The kernel names one at a time, not always the first."""
        if first >= end:
            return 0
        question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, end - first, 0)
        kind, _, found, _, _ = FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_GETLK, question))
        if kind == fcntl.F_UNLCK:
            return 0
        return self._others(first, found) + 1 + self._others(found + 1, end)


def granted_cores() -> int:
    """Cores that this process may use: affinity and the control group's quota, at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return max(1, int(cores))
