"""Where files are prepared for a model repository, and the lock that one export at a time holds."""

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
"""How long an export waits for another one that writes."""
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""Of file systems on which folders cannot be locked."""


@contextlib.contextmanager
def locked(out: Path) -> Iterator[bool]:
    """Holds the repository's lock, which ends with the process; false where its file system has no locks.

    Waits for another export. Raises ExportError after LOCK_SECONDS.
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
                raise ExportError(f"another export is writing to {out}; try again when it is done") from error
        time.sleep(0.1)


def beside(out: Path) -> bool:
    """Whether files can be prepared beside the repository: from there they are moved in by renaming."""
    return out.parent.stat().st_dev == out.stat().st_dev and os.access(out.parent, os.W_OK | os.X_OK)


@contextlib.contextmanager
def staging(out: Path, towers: Sequence[str]) -> Iterator[dict[str, Path]]:
    """An empty folder for each Triton model, on the repository's file system; removed at the end.

    Triton takes every folder in a repository for a model, hidden ones too. Where the repository is a file
    system of its own, the folders lie inside the models' own, where Triton passes over names that are not
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
    """A new folder; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_if_empty(folder: Path) -> None:
    """Removes a folder with nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def sweep(out: Path, towers: Sequence[str]) -> None:
    """Removes what exports left that were killed. The lock must be held: others' folders are in use."""
    places = [(out.parent, f"{PREFIX}{out.name}-")] if beside(out) else []
    places += [(out / tower, PREFIX) for tower in towers if (out / tower).is_dir()]
    for folder, prefix in places:
        for path in folder.iterdir():
            # The rest of a name that begins alike belongs to another repository.
            if path.name.startswith(prefix) and "-" not in path.name.removeprefix(prefix):
                shutil.rmtree(path, ignore_errors=True)
