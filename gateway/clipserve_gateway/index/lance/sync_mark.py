"""The mark of a local table: the newest version that is certainly on the disk, for all processes.

The mark is a file in the table's folder: the version in 20 digits, and `!` once a sync has failed. After a
failed sync, the page cache may show data that the disk lacks, and a second sync may succeed nevertheless. So
the versions after the mark, which nobody acknowledged, count as lost until the table is opened again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

MARK = "_synced"
"""Name of the file in a table's folder."""
DIGITS = 20


@dataclass(frozen=True)
class Mark:
    """The content of a table's mark."""

    version: int = 0
    """The newest version that is certainly on the disk; 0 if there is none."""
    failed: bool = False
    """Whether a sync of a later version has failed."""


def read_mark(folder: Path) -> Mark:
    """The mark of a table; an empty one if there is no readable file."""
    with suppress(FileNotFoundError):
        return parse((folder / MARK).read_bytes())
    return Mark()


@contextmanager
def change_mark(folder: Path) -> Iterator[_Change]:
    """Locks a table's mark for reading and writing; creates it if it does not exist. Raises OSError."""
    number = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Some network file systems have no locks. On these, only one process may write.
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield _Change(number)
    finally:
        os.close(number)


def note_synced(folder: Path, version: int, manifest: Path) -> bool:
    """Marks a version as synced. Raises OSError.

    Returns False, and marks nothing, if a sync failed or the version was moved aside meanwhile. Then the
    version must not be acknowledged.
    """
    if read_mark(folder) == Mark(version):
        return manifest.exists()
    with change_mark(folder) as change:
        mark = change.read()
        if mark.failed or not manifest.exists():
            return False
        if version > mark.version:
            change.write(replace(mark, version=version))
        return True


def note_failure(folder: Path, version: int) -> None:
    """Marks that a sync of the versions after `version`, or after the mark's, failed. Raises OSError."""
    with change_mark(folder) as change:
        change.write(Mark(max(version, change.read().version), failed=True))


class _Change:
    """Reads and writes a locked mark."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self) -> Mark:
        return parse(os.pread(self._number, DIGITS + 1, 0))

    def write(self, mark: Mark) -> None:
        os.pwrite(self._number, f"{mark.version:0{DIGITS}}{'!' if mark.failed else chr(10)}".encode(), 0)

    def sync(self) -> None:
        os.fsync(self._number)


def parse(content: bytes) -> Mark:
    """The mark in a file, which a power cut may have truncated."""
    digits, end = content[:DIGITS], content[DIGITS : DIGITS + 1]
    whole = len(digits) == DIGITS and digits.isdigit()
    return Mark(int(digits) if whole else 0, failed=end == b"!")
