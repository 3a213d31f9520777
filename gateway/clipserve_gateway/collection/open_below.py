"""Opens regular files below a folder, and nothing that links lead to outside of it."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


class NotBelow(OSError):
    """What is not opened; `strerror` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


def open_below(root: str, path: str) -> BinaryIO:
    """Opens the file of an absolute path below `root`; NotBelow, or another OSError.

    Links inside the folder are resolved by name first. Then every part is opened from the one before it,
    without following links: where somebody puts a link in a part's place meanwhile, opening it fails.
    """
    root, path = os.path.realpath(root), os.path.realpath(path)
    inside = os.path.relpath(path, root)
    if inside == os.curdir or inside.split(os.sep)[0] == os.pardir:
        raise NotBelow("it lies outside of the folder")
    *folders, name = inside.split(os.sep)
    folder = os.open(root, FOLDER)
    try:
        for part in folders:
            deeper = os.open(part, FOLDER, dir_fd=folder)
            os.close(folder)
            folder = deeper
        # Not opened to find out: a device may act when it is.
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


def check_regular(facts: os.stat_result) -> None:
    """NotBelow for a link, a pipe, a device, a socket or a folder."""
    if not stat.S_ISREG(facts.st_mode):
        raise NotBelow("it is not a regular file")
