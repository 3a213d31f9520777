"""Disks that can be made full and read-only."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

MOUNT_SIZE = "16m"
FILE_BYTES = 200_000
"""Of a file, where that is limited: less than a batch takes."""


class Disk(Protocol):
    """Where a gateway keeps its collections, and how it is spoiled."""

    what: str

    def tighten(self, pid: int) -> None:
        """From now on there is little room."""
        ...

    def relieve(self, pid: int) -> None:
        """There is room again."""
        ...

    def lock(self) -> None:
        """Nothing can be written."""
        ...

    def unlock(self) -> None:
        """It can again."""
        ...


class Mounted:
    """A disk of its own, in memory."""

    what = f"a tmpfs of {MOUNT_SIZE}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tighten(self, pid: int) -> None:
        """It has little room from the start."""

    def relieve(self, pid: int) -> None:
        """A larger one."""
        self._remount("size=256m")

    def lock(self) -> None:
        """Read-only."""
        self._remount("ro")

    def unlock(self) -> None:
        """Writable."""
        self._remount("rw")

    def _remount(self, options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(self._folder)], check=True)


class Limited:
    """A folder of the disk that is there: a limit on files stands for a full one, modes for a locked one."""

    what = "a limit on the size of files, for want of the right to mount"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tighten(self, pid: int) -> None:
        """No large files."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_BYTES, resource.RLIM_INFINITY))

    def relieve(self, pid: int) -> None:
        """Files of any size."""
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def lock(self) -> None:
        """No new files in any folder."""
        self._chmod(0o500)

    def unlock(self) -> None:
        """New files again."""
        self._chmod(0o700)

    def _chmod(self, mode: int) -> None:
        for folder, _, _ in os.walk(self._folder):
            os.chmod(folder, mode)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A small disk mounted at the folder, if this user may; else the folder, limited."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={MOUNT_SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield Limited(folder)
        return
    try:
        yield Mounted(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
