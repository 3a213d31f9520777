"""Syncs commits of local tables to the disk, so that they survive a power cut. Lance never syncs files.

Files of a table never change once they have their name. So one pass syncs every file that this process has
not synced before, also those of other processes, and the folders with new entries. After that, the newest
version and all its files are on the disk. A failed sync is not repeated: see sync_mark.
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
"""Lance rewrites this file at each commit, and does not need it."""
VERSIONS = "_versions"
THREADS = 16
LAST_NUMBER = 2**64 - 1
"""A manifest's name is this number minus its version, so that the newest is listed first."""


class FsyncFailed(OSError):
    """The system failed to write accepted data to the disk, and may no longer know that it is missing."""


class TableSync:
    """Syncs the folder of one table, in one process."""

    _threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
    """Shared by all tables."""

    def __init__(self, folder: Path | None, opened_version: int = 0) -> None:
        """
        Args:
            folder: the table's folder; None if nothing is to be synced.
            opened_version: the newest version when the table was opened.
        """
        self._folder = folder
        self._opened_version = opened_version
        self._failure = ""
        """Why no more writes are accepted."""
        self._lock = threading.Lock()
        self._synced: dict[str, set[str]] = {}
        """Folder → names of its entries that are synced."""
        self._newest = self._marked = 0
        """The newest version that was synced, and the version in the mark on the disk."""

    def check(self) -> None:
        """Raises StorageFailed after a failed sync: new versions must not build on data the disk may lack."""
        if self._failure:
            raise StorageFailed(self._failure)

    async def sync(self) -> None:
        """Returns when the whole folder is on the disk. Raises OSError; after a failed sync StorageFailed."""
        if self._folder is not None:
            await asyncio.to_thread(self._sync, self._folder)

    def _sync(self, folder: Path) -> None:
        with self._lock:
            if read_mark(folder).failed:
                self._fail(folder, "reported by another gateway")
            self.check()
            files, changed = [], [] if self._synced else [folder.parent]
            if self._newest > self._marked:
                # The mark that the previous sync wrote.
                files.append(folder / MARK)
            newest, seen = newest_version(folder), dict(folders(folder))
            for path, names in seen.items():
                known = self._synced.get(path)
                new = names if known is None else names - known
                files += [Path(path, name) for name in new]
                if new or known is None:
                    changed.append(Path(path))
            # All at the same time, because file systems write simultaneous requests together.
            errors = [error for error in self._threads.map(error_of, files + changed) if error is not None]
            for error in errors:
                if isinstance(error, FsyncFailed):
                    self._fail(folder, error.strerror or str(error))
                    break
            if errors:
                self.check()
                raise errors[0]
            self._marked = self._newest
            if newest and not self._mark(folder, newest):
                self._fail(folder, "reported by another gateway")
                self.check()
            self._synced, self._newest = seen, newest

    def _mark(self, folder: Path, version: int) -> bool:
        try:
            return note_synced(folder, version, manifest_path(folder, version))
        except OSError as error:
            # A read-only store can be opened, too.
            if self._newest or error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            return True

    def _fail(self, folder: Path, why: str) -> None:
        """Refuses all further writes, in this process and in others."""
        self._failure = (
            f"the disk failed to store a write to table {folder.stem} ({why}): check the disk, then restart "
            "the gateway. Until then this table accepts no writes; acknowledged writes are on the disk"
        )
        log.error("%s", self._failure)
        try:
            note_failure(folder, self._opened_version)
        except OSError as error:
            log.error("the failed sync of table %s cannot be recorded in its folder: %s", folder.stem, error)


def error_of(path: Path) -> OSError | None:
    """Syncs a file or folder; returns the error instead of raising it, so that the others are synced too."""
    try:
        sync_path(path)
    except OSError as error:
        return error
    return None


def folders(top: Path) -> Iterator[tuple[str, set[str]]]:
    """A folder and all below it, each with the names of its entries that are to be synced."""
    for path, below, files in os.walk(top):
        yield path, {name for name in files if is_final(name)} | set(below)


def is_final(name: str) -> bool:
    """Whether a file never changes: false for Lance's hint, the mark, and temporary files."""
    return name not in (HINT, MARK) and "#" not in name and ".tmp" not in name


def newest_version(folder: Path) -> int:
    """The newest version that has a manifest; 0 if there is none."""
    with suppress(FileNotFoundError):
        return max((version_of(name) for name in os.listdir(folder / VERSIONS)), default=0)
    return 0


def manifest_path(folder: Path, version: int) -> Path:
    """The path of a version's manifest."""
    return folder / VERSIONS / f"{LAST_NUMBER - version:020}.manifest"


def version_of(manifest: str) -> int:
    """The version in a manifest's name; 0 for other files."""
    number, _, kind = manifest.partition(".")
    return LAST_NUMBER - int(number) if kind == "manifest" and number.isdigit() else 0


def sync_path(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk. Raises OSError, or FsyncFailed.

    A file that does not exist any more was merged into another one, which is synced as well.
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
    """The local folder of a store's URI; None for object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)
