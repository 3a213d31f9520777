"""Where Triton's log is, and whether it stays."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

NAME = "triton.log"


@dataclass
class TritonLog:
    """The file of one Triton's log."""

    path: Path
    temporary: bool = False
    """It is removed in the end, unless it tells of a failure."""
    lock: BinaryIO | None = None
    """Held while the file is this process's."""

    def close(self, *, keep: bool) -> None:
        """Gives the file up; a temporary one is removed unless it is to be kept."""
        if self.lock is not None:
            self.lock.close()
        if self.temporary and not keep:
            self.path.unlink(missing_ok=True)


def choose_log(given: Path | None, data: str, number: int = 0) -> TritonLog:
    """The log of a Triton: as given, in the data folder, or a temporary file.

    Args:
        data: the setting of that name. A remote one, one that cannot be written, or one whose log belongs to
            another running gateway, leads to a temporary file.
        number: of the Triton; all but the first have it after the name.
    """
    if given is not None:
        return TritonLog(numbered(given.absolute(), number))
    if not is_remote(data):
        with contextlib.suppress(OSError):
            return in_folder(Path(data).absolute(), number)
    handle, name = tempfile.mkstemp(prefix="clipserve-triton-", suffix=".log")
    os.close(handle)
    return TritonLog(Path(name), temporary=True)


def in_folder(folder: Path, number: int) -> TritonLog:
    """The log in a data folder; OSError if it cannot be written, or is another process's."""
    folder.mkdir(parents=True, exist_ok=True)
    path = numbered(folder / NAME, number)
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return TritonLog(path, lock=lock)


def numbered(path: Path, number: int) -> Path:
    """The path of the log of a Triton that is not the first."""
    return path.with_name(f"{path.name}.{number}") if number else path


def is_remote(data: str) -> bool:
    """Whether a data setting names something else than a folder of this machine."""
    return "://" in data or data.startswith("milvus-lite:")
