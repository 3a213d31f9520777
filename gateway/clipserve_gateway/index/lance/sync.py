"""Makes what was committed to a local table survive a power cut. Lance itself never syncs a file.

Files of a table never change once they have their name. So one pass syncs each file that this process has not
synced before, whoever wrote it, then the folders that have new entries. After that the newest version, and
all that it needs, is on the disk. A sync that fails is not tried again: see lance_mark.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from clipserve_gateway.errors import StorageFailed
from clipserve_gateway.index.lance.sync_mark import MARK, note_failure, note_synced, read_mark

log = logging.getLogger(__name__)

HINT = "latest_version_hint.json"
"""Lance writes it anew with each commit, and does without it."""
VERSIONS = "_versions"
THREADS = 16
LAST_NUMBER = 2**64 - 1
"""Manifests are named by this less their version, so that the newest is listed first."""


class FsyncFailed(OSError):
    """The system could not write to the disk what it had taken, and may have forgotten that it had not."""


class TableSync:
    """Of one table's folder, in one process; None for a store that needs no syncing."""

    _threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
    """Of all tables together."""

    def __init__(self, folder: Path | None, found: int = 0) -> None:
        """`found` is the newest version that was there when the table was opened."""
        self._folder = folder
        self._found = found
        self._failure = ""
        """Why nothing more may be written."""
        self._lock = threading.Lock()
        self._synced: dict[str, set[str]] = {}
        """Folder → the names in it that need no syncing any more."""
        self._newest = self._marked = 0
        """Versions: the newest that was synced, and what the mark on the disk says."""

    def check(self) -> None:
        """StorageFailed once a sync has failed: nothing may be built on what the disk may lack."""
        if self._failure:
            raise StorageFailed(self._failure)

    async def sync(self) -> None:
        """Returns when all that is in the folder is on the disk. Raises OSError; StorageFailed for good."""
        if self._folder is not None:
            await asyncio.to_thread(self._sync, self._folder)

    def _sync(self, folder: Path) -> None:
        with self._lock:
            if read_mark(folder).failed:
                self._fail(folder, "by another gateway")
            self.check()
            files, changed = [], [] if self._synced else [folder.parent]
            if self._newest > self._marked:
                # What was noted after the sync before.
                files.append(folder / MARK)
            newest, seen = newest_version(folder), dict(folders(folder))
            for path, names in seen.items():
                known = self._synced.get(path)
                new = names if known is None else names - known
                files += [Path(path, name) for name in new]
                if new or known is None:
                    changed.append(Path(path))
            # All at once: a file system writes what is asked for together in one go.
            errors = list(self._threads.map(error_of, files + changed))
            if lost := next((it for it in errors if isinstance(it, FsyncFailed)), None):
                self._fail(folder, lost.strerror or str(lost))
            if error := next((it for it in errors if it is not None), None):
                self.check()
                raise error
            self._marked = self._newest
            if newest and not self._note(folder, newest):
                self._fail(folder, "by another gateway")
                self.check()
            self._synced, self._newest = seen, newest

    def _note(self, folder: Path, version: int) -> bool:
        try:
            return note_synced(folder, version, manifest_path(folder, version))
        except OSError as error:
            # A store that may only be read is opened all the same.
            if self._newest or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            return True

    def _fail(self, folder: Path, why: str) -> None:
        """Takes no more writes, here and in other processes."""
        self._failure = (
            f"the disk did not keep a write to table {folder.stem} ({why}): check the disk, then start the "
            "gateway again. Until then this table takes no writes; what was acknowledged is on the disk"
        )
        log.error("%s", self._failure)
        try:
            note_failure(folder, self._found)
        except OSError as error:
            log.error("the failed sync of %s cannot be noted in its folder: %s", folder.stem, error)


def error_of(path: Path) -> OSError | None:
    """Syncs a file or folder; what went wrong. Of several files each is told."""
    try:
        sync_path(path)
    except OSError as error:
        return error
    return None


def folders(top: Path) -> Iterator[tuple[str, set[str]]]:
    """A folder and those below it, each with the names of its files and folders."""
    for path, below, files in os.walk(top):
        yield path, {name for name in files if is_final(name)} | set(below)


def is_final(name: str) -> bool:
    """Whether a file keeps its content: not Lance's hint, our mark, or a file that gets its name later."""
    return name not in (HINT, MARK) and "#" not in name and ".tmp" not in name


def newest_version(folder: Path) -> int:
    """The greatest version that has a manifest; 0 if there is none."""
    with suppress(FileNotFoundError):
        return max((version_of(name) for name in os.listdir(folder / VERSIONS)), default=0)
    return 0


def manifest_path(folder: Path, version: int) -> Path:
    """Where the manifest of a version is."""
    return folder / VERSIONS / f"{LAST_NUMBER - version:020}.manifest"


def version_of(manifest: str) -> int:
    """The version that a manifest is of, by its name; 0 for other files."""
    number, _, kind = manifest.partition(".")
    return LAST_NUMBER - int(number) if kind == "manifest" and number.isdigit() else 0


def sync_path(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk. Raises OSError, or FsyncFailed.

    A file that is gone was merged into another one, which is synced as well.
    """
    with suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        except OSError as error:
            raise FsyncFailed(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(number)


def local_folder(uri: str) -> Path | None:
    """The folder that a store's URI means on this machine; None for object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)
