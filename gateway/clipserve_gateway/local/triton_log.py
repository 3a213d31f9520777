"""The file of Triton's log."""

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
    """The log of one Triton."""

    path: Path
    temporary: bool = False
    """Whether the file is removed in the end, unless Triton has failed."""
    lock: BinaryIO | None = None
    """Held while this process uses the file."""

    def close(self, *, keep: bool) -> None:
        """Releases the file; removes a temporary one unless `keep`."""
        if self.lock is not None:
            self.lock.close()
        if self.temporary and not keep:
            self.path.unlink(missing_ok=True)


def choose_log(given: Path | None, data: str, number: int = 0) -> TritonLog:
    """The log of a Triton: the given file, one in the data folder, or a temporary file.

    Args:
        data: the setting of that name. If it is remote, cannot be written, or its log is used by another
            gateway, the log is a temporary file.
        number: of the Triton, from 0. Names of logs but the first end with it.
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
    """The log in a data folder. Raises OSError if it cannot be written or another process uses it."""
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
    """The path of the log with the number of its Triton, if that is not 0."""
    return path.with_name(f"{path.name}.{number}") if number else path


def is_remote(data: str) -> bool:
    """Whether a data setting names something other than a folder on this machine."""
    return "://" in data or data.startswith("milvus-lite:")
