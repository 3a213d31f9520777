"""Files of a backup: private, synced to disk, and identified by SHA-256."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clipserve_gateway.index.lance.sync import sync_path

FILE_MODE, FOLDER_MODE = 0o600, 0o700
BLOCK = 1 << 20
MAX_SMALL = 256 << 20
"""Size limit of files that are read into memory, in bytes."""

Advance = Callable[[int], None]
"""Called with numbers of processed bytes."""

Report = Callable[[str, int], contextlib.AbstractContextManager[Advance]]
"""Shows progress: a label and a total number of bytes → a context with an Advance."""


class BackupError(Exception):
    """No backup was made or nothing was restored; the message says why and what to do."""


@dataclass(frozen=True)
class FileFacts:
    """A file's size in bytes, and its SHA-256 as 64 hex digits."""

    bytes: int
    sha256: str


def files_below(folder: Path) -> Iterator[str]:
    """Sorted relative paths, with slashes, of everything in a folder and its subfolders except folders.

    Links are listed, not followed.
    """
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted([*names, *links]):
            yield Path(root, name).relative_to(folder).as_posix()


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, without waiting for pipes. Raises OSError, also if it is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def facts_of(path: Path, advance: Advance) -> FileFacts:
    """Size and SHA-256 of a file. Raises OSError, also if it is not a regular file."""
    with regular_file(path) as file:
        digest, size = hashlib.sha256(), 0
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
            advance(len(block))
    return FileFacts(size, digest.hexdigest())


def read_small(path: Path) -> bytes:
    """The content of a file of at most 256 MiB. Raises OSError, also if it is not a regular file."""
    with regular_file(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_SMALL:
            raise OSError(errno.EFBIG, "larger than 256 MiB", str(path))
        return file.read(MAX_SMALL)


def check_outside(path: Path, folder: Path, what: str) -> None:
    """Raises BackupError if the path is inside the folder; `what` names the folder and says what to do."""
    # Not Path.resolve, which raises RuntimeError for a loop of links.
    if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise BackupError(f"{path} is inside {what}")


def make_durable(folder: Path) -> None:
    """Makes a folder and its content private, and syncs everything to disk."""
    for root, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(root, name)
            path.chmod(FILE_MODE)
            sync_path(path)
        for name in [*folders, ""]:
            path = Path(root, name)
            path.chmod(FOLDER_MODE)
            sync_path(path)


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that only its owner can read, and syncs it to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def bytes_below(folder: Path) -> int:
    """Total size of all files in a folder and its subfolders, which may be growing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
