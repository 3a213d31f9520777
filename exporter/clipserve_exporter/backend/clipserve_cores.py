"""Divides the cores among the instances of one Triton that work at the same time.

Why this exists, and what it costs: docs/shared-cores.md.
"""

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

EXECUTABLE = Path("/proc/self/exe")
PID_BITS = 22
"""Linux has no process ids above 2^22."""
FLOCK = struct.Struct("hhqqi4x")
"""C's struct flock on 64-bit Linux: type, whence, start, length, process id."""


class SharedCores:
    """Gives an instance that works alone all cores, and each of several that work an equal share.

    An instance at work holds a lock on one byte of its executable, and counts the locks of the others. The
    kernel releases the lock when the process ends, however it ends. The byte's offset consists of Triton's
    process id and the instance's own, so that instances of other Tritons are not counted. Nothing is written.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self._first = os.getppid() << PID_BITS
        self._own = self._first + os.getpid()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[int]:
        """Counts this process as working during the block; yields the number of cores that it should use.

        That is all cores if the executable cannot be opened or its file system has no locks.
        """
        others = 0
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                # Closing the file releases the lock.
                file = held.enter_context(EXECUTABLE.open("rb", buffering=0))
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, self._own)
                others = locks_of_others(file, self._first, self._first + (1 << PID_BITS))
            yield max(1, self.cores // (1 + others))


def locks_of_others(file: BinaryIO, first: int, end: int) -> int:
    """Counts the locks on a range of bytes. The kernel reports one at a time, not always the first."""
    if first >= end:
        return 0
    question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, end - first, 0)
    kind, _, offset, _, _ = FLOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, question))
    if kind == fcntl.F_UNLCK:
        return 0
    return locks_of_others(file, first, offset) + 1 + locks_of_others(file, offset + 1, end)


def granted_cores() -> int:
    """Returns the cores that this process may use by its affinity and its cgroup's quota, at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return max(1, int(cores))


def threads_of(setting: str, groups: Sequence[dict[str, Any]]) -> int:
    """Returns the threads of one instance, or 0 if all instances share the cores.

    `split` gives each instance a fixed equal share of the granted cores.
    """
    if setting != "split":
        return int(setting)
    instances = sum(int(group["count"]) for group in groups)
    return max(1, granted_cores() // max(1, instances))
