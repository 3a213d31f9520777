"""Folders in which an export prepares its files, and the lock that admits one export at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from clipserve_exporter.errors import ExportError

PREFIX = ".clipserve-export-"
LOCK_SECONDS = 120.0
"""Longest wait for another export that writes to the repository."""
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Errors of file systems on which folders cannot be locked."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[bool]:
    """Holds the repository's lock; yields false if its file system has no locks.

    The kernel releases the lock when the process ends. Waits for another export; raises ExportError after
    LOCK_SECONDS.
    """
    handle = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield lock(handle, out)
    finally:
        os.close(handle)


def lock(handle: int, out: Path) -> bool:
    """See locked."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            if error.errno != errno.EWOULDBLOCK:
                raise
            if time.monotonic() >= end:
                raise ExportError(f"another export is writing to {out}; try again when it ends") from error
        time.sleep(0.1)


def beside(out: Path) -> bool:
    """Whether the repository's parent folder can hold the staging folder, so that renaming moves files in."""
    return out.parent.stat().st_dev == out.stat().st_dev and os.access(out.parent, os.W_OK | os.X_OK)


@contextlib.contextmanager
def staging(out: Path, towers: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Creates an empty folder for each Triton model on the repository's file system; removes it at the end.

    Triton takes every folder in a repository for a model, even hidden ones. If the repository is the root of
    a file system, the folders are inside the models' folders, where Triton ignores names that are not
    numbers.
    """
    with contextlib.ExitStack() as stack:
        if beside(out):
            stage = stack.enter_context(temporary(out.parent, f"{PREFIX}{out.name}-"))
            folders = {tower: stage / tower for tower in towers}
            for folder in folders.values():
                folder.mkdir()
        else:
            folders = {}
            for tower in towers:
                if not (out / tower).exists():
                    (out / tower).mkdir()
                    stack.callback(remove_if_empty, out / tower)
                folders[tower] = stack.enter_context(temporary(out / tower, PREFIX))
        yield folders


@contextlib.contextmanager
def temporary(parent: Path, prefix: str) -> Iterator[Path]:
    """Creates a folder, and removes it at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_if_empty(folder: Path) -> None:
    """Removes a folder if it is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def sweep(out: Path, towers: Sequence[str]) -> None:
    """Removes the folders of exports that were killed. The lock must be held, since others may be in use."""
    places = [(out.parent, f"{PREFIX}{out.name}-")] if beside(out) else []
    places += [(out / tower, PREFIX) for tower in towers if (out / tower).is_dir()]
    for folder, prefix in places:
        for path in folder.iterdir():
            # A name with another `-` belongs to a repository whose name begins like this one.
            if path.name.startswith(prefix) and "-" not in path.name.removeprefix(prefix):
                shutil.rmtree(path, ignore_errors=True)
