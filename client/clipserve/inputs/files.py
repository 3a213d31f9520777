"""Reads local files: only regular files, up to a given size."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from clipserve.inputs.text_encoding import decoded

MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Limit for files with labels, prompts, names or texts."""
MAX_SECRET_BYTES = 1024 * 1024
"""Limit for files with a token, a certificate or a key."""
OPEN_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
"""Flags to open a file without waiting for the writer of a pipe."""


class FileRefused(OSError):
    """A file that is not opened or not read completely; `strerror` has the reason."""

    def __init__(self, path: str | os.PathLike[str], why: str) -> None:
        super().__init__(errno.EINVAL, why, os.fspath(path))


class FileTooLarge(FileRefused):
    """A file with more bytes than allowed; `size` is the number of bytes, or a lower bound of it."""

    def __init__(self, path: str | os.PathLike[str], size: int, limit: int) -> None:
        super().__init__(path, f"it has {size:,} bytes, and at most {limit:,} are read")
        self.size = size


@dataclass(frozen=True)
class Below:
    """A file below a trusted folder. Links that lead out of the folder are refused."""

    root: Path
    name: str
    """Path relative to the root, with slashes."""

    @property
    def path(self) -> Path:
        """The file's path, for messages."""
        return self.root / self.name


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file, also through links. Raises OSError; FileRefused for other kinds of files.

    Pipes, devices and sockets are not opened: that could block, never end, or have side effects.
    """
    try:
        check_regular(path, os.stat(path))
        return regular_file(os.open(path, OPEN_FLAGS), path)
    except ValueError as error:
        raise FileRefused(path, str(error)) from error  # a NUL in its name


def open_below(file: Below) -> BinaryIO:
    """Opens a regular file below a folder. Raises OSError; FileRefused for a file outside of the folder.

    Safe against concurrent changes of the folder: the opened file itself is checked.
    """
    parts = PurePosixPath(file.name).parts
    if not parts or file.name.startswith("/") or ".." in parts or "\0" in file.name:
        raise FileRefused(file.name, "its path leads out of the folder")
    if os.open in os.supports_dir_fd:
        return regular_file(open_without_links(file.root, parts), file.path)
    # Windows. Creating links there needs special rights.
    if not file.path.resolve().is_relative_to(file.root.resolve()):
        raise FileRefused(file.name, "it is a link that leads out of the folder")
    return open_regular(file.path)


def open_without_links(root: Path, parts: Sequence[str]) -> int:
    """A file descriptor of a file below the folder, opened without following links below the folder.

    Links are resolved by name first. Then each component of the resolved path is opened without following
    links, so a link that replaces a component meanwhile fails.
    """
    real = os.path.realpath(root)
    target = os.path.realpath(os.path.join(real, *parts))
    inside = os.path.relpath(target, real)
    if inside == os.curdir or inside.split(os.sep)[0] == os.pardir:
        raise FileRefused(os.path.join(root, *parts), "it is a link that leads out of the folder")
    folder = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *folders, name = inside.split(os.sep)
        for part in folders:
            deeper = os.open(part, OPEN_FLAGS | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = deeper
        check_regular(target, os.stat(name, dir_fd=folder, follow_symlinks=False))
        return os.open(name, OPEN_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def regular_file(descriptor: int, path: str | os.PathLike[str]) -> BinaryIO:
    """The open file. Raises FileRefused if the path has become another kind of file meanwhile."""
    try:
        check_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: str | os.PathLike[str], facts: os.stat_result) -> None:
    """Raises FileRefused for a folder, pipe, device or socket."""
    if stat.S_ISDIR(facts.st_mode):
        raise FileRefused(path, "it is a folder")
    if not stat.S_ISREG(facts.st_mode):
        raise FileRefused(path, "it is not a regular file")


def read_regular(path: str | os.PathLike[str] | Below, limit: int) -> bytes:
    """The bytes of a regular file. Raises OSError; FileTooLarge, without reading it, above `limit` bytes."""
    with open_below(path) if isinstance(path, Below) else open_regular(path) as file:
        name = path.path if isinstance(path, Below) else path
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise FileTooLarge(name, size, limit)
        # The file may grow meanwhile, or report a size of 0, as files in /proc do.
        content = file.read(limit + 1)
        if len(content) > limit:
            raise FileTooLarge(name, len(content), limit)
        return content


def read_text(path: str | os.PathLike[str], limit: int = MAX_TEXT_BYTES) -> str:
    """The text of a file in an encoding of text_encoding. Raises OSError and NotText."""
    return decoded(read_regular(path, limit))
