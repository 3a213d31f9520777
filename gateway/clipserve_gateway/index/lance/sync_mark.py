"""The mark of a local table: what is known to be on the disk, for all processes of this machine.

A file in the table's folder: 20 digits, the newest version that was synced, and `!` once a sync has failed.
After a failed sync the page cache may show what the disk lacks, and a second sync may succeed all the same.
So the versions after the mark's, which nobody acknowledged, count as lost until the table is opened anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

MARK = "_synced"
"""File in a table's folder."""
DIGITS = 20


@dataclass(frozen=True)
class Mark:
    """What a table's mark says."""

    version: int = 0
    """The newest version that is known to be on the disk; 0 where none is."""
    failed: bool = False
    """Whether a sync has failed since."""


def read_mark(folder: Path) -> Mark:
    """The mark of a table; an empty one where there is none that can be read."""
    with suppress(FileNotFoundError):
        return parse((folder / MARK).read_bytes())
    return Mark()


@contextmanager
def change_mark(folder: Path) -> Iterator[_Change]:
    """Holds a table's mark, which is made if there is none, while it is read and written. Raises OSError."""
    number = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # Some network file systems have no locks; there, one process is all that may write.
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        yield _Change(number)
    finally:
        os.close(number)


def note_synced(folder: Path, version: int, manifest: Path) -> bool:
    """Notes a version that was synced. False, and notes nothing, where a sync failed, or the version was
    put aside meanwhile: then it must not be acknowledged. Raises OSError."""
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
    """Notes that a sync failed of what came after `version`, or after the mark's. Raises OSError."""
    with change_mark(folder) as change:
        change.write(Mark(max(version, change.read().version), failed=True))


class _Change:
    """Reads and writes a mark that is held."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read(self) -> Mark:
        return parse(os.pread(self._number, DIGITS + 1, 0))

    def write(self, mark: Mark) -> None:
        os.pwrite(self._number, f"{mark.version:0{DIGITS}}{'!' if mark.failed else chr(10)}".encode(), 0)

    def sync(self) -> None:
        os.fsync(self._number)


def parse(content: bytes) -> Mark:
    """What a file says; a power cut may have cut it off."""
    digits, end = content[:DIGITS], content[DIGITS : DIGITS + 1]
    whole = len(digits) == DIGITS and digits.isdigit()
    return Mark(int(digits) if whole else 0, failed=end == b"!")
