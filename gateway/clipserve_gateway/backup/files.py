"""Files of a backup: private, on disk, and known by their SHA-256."""

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

from clipserve_gateway.backup.errors import BackupError

FILE_MODE, FOLDER_MODE = 0o600, 0o700
BLOCK = 1 << 20
MAX_SMALL = 256 << 20

Advance = Callable[[int], None]
"""Told of bytes that are done."""


@dataclass(frozen=True)
class FileFacts:
    """A file's size in bytes, and its SHA-256 as 64 hex digits."""

    bytes: int
    sha256: str


def files_below(folder: Path) -> Iterator[str]:
    """Paths of everything below a folder that is not a folder, relative to it, with slashes, sorted.

    Links are not followed: a link is listed as itself.
    """
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted([*names, *links]):
            yield Path(root, name).relative_to(folder).as_posix()


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[BinaryIO]:
    """A file to read; a pipe is not waited for. Raises OSError, also for what is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def facts_of(path: Path, advance: Advance) -> FileFacts:
    """Reads a file. Raises OSError, also for what is not a regular file."""
    with regular_file(path) as file:
        digest, size = hashlib.sha256(), 0
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
            advance(len(block))
    return FileFacts(size, digest.hexdigest())


def read_small(path: Path) -> bytes:
    """The content of a file of at most 256 MiB. Raises OSError, also for what is not a regular file."""
    with regular_file(path) as file:
        if os.fstat(file.fileno()).st_size > MAX_SMALL:
            raise OSError(errno.EFBIG, "larger than 256 MiB", str(path))
        return file.read(MAX_SMALL)


def refuse_inside(place: Path, folder: Path, words: str) -> None:
    """BackupError for a place that is the folder, or lies in it."""
    # Not Path.resolve, which raises RuntimeError on a loop of links.
    if Path(os.path.realpath(place)).is_relative_to(os.path.realpath(folder)):
        raise BackupError(f"{place} lies in {words}")


def make_durable(folder: Path) -> None:
    """Gives a folder and all below it their modes, and waits until all is on disk."""
    for root, folders, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(root, name)
            path.chmod(FILE_MODE)
            sync(path)
        for name in [*folders, ""]:
            path = Path(root, name)
            path.chmod(FOLDER_MODE)
            sync(path)


def sync(path: Path) -> None:
    """Waits until a file, or the list of names in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that its owner alone can read, and waits until it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def bytes_below(folder: Path) -> int:
    """Size of all files below a folder, which may grow meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total
