"""Opens regular files inside a folder; symbolic links cannot lead out of it."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class NotBelow(OSError):
    """The file is not opened; `strerror` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


def open_below(root: str, path: str) -> BinaryIO:
    """Opens the file with an absolute path inside `root`. Raises NotBelow or another OSError.

    Links inside the folder are resolved first. Then each part is opened relative to the one before, without
    following links: if a part is replaced by a link in the meantime, opening it fails.
    """
    root, path = os.path.realpath(root), os.path.realpath(path)
    relative = os.path.relpath(path, root)
    if relative == os.curdir or relative.split(os.sep)[0] == os.pardir:
        raise NotBelow("it is outside of the allowed folder")
    *folders, name = relative.split(os.sep)
    folder = os.open(root, FOLDER)
    try:
        for part in folders:
            child = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = child
        # Checked before it is opened, because opening a device can have effects.
        check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
        file = os.fdopen(os.open(name, FILE, dir_fd=folder), "rb")
    finally:
        os.close(folder)
    try:
        check_regular(os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def check_regular(status: os.stat_result) -> None:
    """Raises NotBelow for a link, pipe, device, socket or folder."""
    if not stat.S_ISREG(status.st_mode):
        raise NotBelow("it is not a regular file")
