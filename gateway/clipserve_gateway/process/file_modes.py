"""Checks that other users of this machine cannot read the gateway's files or change what it runs."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

PRIVATE = 0o077
"""The gateway's umask: only its own user may use what it creates, folders with 0700 and files with 0600."""
GROUP, OTHERS = 0o070, 0o007


def create_private_files() -> None:
    """From now on, this process and its children create files and folders for their own user only."""
    os.umask(os.umask(PRIVATE) | PRIVATE)


def others_reach(path: str | Path) -> str:
    """The mode, such as 0644, of a file that other users may use; empty if none may, or it does not exist.

    The group counts only if this user owns the file: mounted secrets and volumes of Kubernetes belong to root
    and to a group of the pod.
    """
    try:
        status = os.stat(path)
    except OSError:
        return ""
    shared = status.st_mode & OTHERS or (status.st_mode & GROUP and status.st_uid == os.geteuid())
    return f"{stat.S_IMODE(status.st_mode):04o}" if shared else ""


def warn_of_secrets(files: Iterable[tuple[str, str]]) -> None:
    """Warns of secret files that others may read. `files` are pairs of a setting's name and its path."""
    for setting, path in files:
        if path and (mode := others_reach(path)):
            log.warning(
                "%s: other users of this machine can read %s (mode %s); run `chmod go= %s`, or set "
                "defaultMode for a Kubernetes Secret",
                *(setting, path, mode, path),
            )


def warn_of_folder(folder: Path) -> None:
    """Warns if others may enter the folder of stored data."""
    if mode := others_reach(folder):
        log.warning(
            "data: other users of this machine can read the folder %s (mode %s); run `chmod -R go= %s`",
            *(folder, mode, folder),
        )


def writable_by_others(folder: Path) -> str:
    """Why other users could change a folder's content, as a sentence; empty if they cannot.

    Checks the folder, everything in it, and the folders above it, in which it could be replaced.
    """
    real = folder.resolve()
    for path in (*real.parents, *walk(real)):
        try:
            status = path.stat()
        except OSError:
            continue  # removed meanwhile, or a broken link
        above = path in real.parents
        # In a folder such as /tmp, only the owner of an entry can replace it.
        sticky = above and status.st_mode & stat.S_ISVTX
        if status.st_mode & stat.S_IWOTH and not sticky:
            return f"all users can write to {path} (mode {stat.S_IMODE(status.st_mode):04o})"
        if not above and status.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to another user (uid {status.st_uid})"
    return ""


def walk(folder: Path) -> Iterator[Path]:
    """The folder and everything in it."""
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
