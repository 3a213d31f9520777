"""Makes what was committed to a local table survive a power cut. Lance itself never syncs a file.

Files of a table never change once they have their name. So one pass syncs each file that this process has not
synced before, whoever wrote it, then the folders that have new entries. After that the newest version, and
all that it needs, is on the disk.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

MARK = "_synced"
"""File in a table's folder: the number of a version that was synced before the last sync began."""
HINT = "latest_version_hint.json"
"""Lance writes it anew with each commit, and does without it."""
VERSIONS = "_versions"
THREADS = 16
LAST_NUMBER = 2**64 - 1
"""Manifests are named by this less their version, so that the newest is listed first."""


class TableSync:
    """Of one table's folder, in one process; None for a store that needs no syncing."""

    _threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sync")
    """Of all tables together."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._synced: dict[str, set[str]] = {}
        """Folder → the names in it that need no syncing any more."""
        self._newest = self._marked = 0
        """Versions: the newest that was synced, and what the mark says."""

    async def sync(self) -> None:
        """Returns when all that is in the folder is on the disk. Raises OSError."""
        if self._folder is not None:
            await asyncio.to_thread(self._sync, self._folder)

    def _sync(self, folder: Path) -> None:
        with self._lock:
            files, changed = [], [] if self._synced else [folder.parent]
            if self._newest > self._marked:
                files.append(write_mark(folder, self._newest))
                self._marked = self._newest
            newest, seen = newest_version(folder), dict(folders(folder))
            for path, names in seen.items():
                known = self._synced.get(path)
                new = names if known is None else names - known
                files += [Path(path, name) for name in new]
                if new or known is None:
                    changed.append(Path(path))
            # All at once: a file system writes what is asked for together in one go.
            list(self._threads.map(sync_path, files + changed))
            self._synced, self._newest = seen, newest


def write_mark(folder: Path, version: int) -> Path:
    """Notes the version that the last sync reached; the sync that begins now makes the note last."""
    path = folder / MARK
    number = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(number, f"{version:020}\n".encode(), 0)
    finally:
        os.close(number)
    return path


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


def version_of(manifest: str) -> int:
    """The version that a manifest is of, by its name; 0 for other files."""
    number, _, kind = manifest.partition(".")
    return LAST_NUMBER - int(number) if kind == "manifest" and number.isdigit() else 0


def marked_version(folder: Path) -> int:
    """The version in a table's mark; 0 if there is none that can be read."""
    with suppress(FileNotFoundError, ValueError):
        return int((folder / MARK).read_text())
    return 0


def sync_path(path: Path) -> None:
    """Waits until a file's bytes, or a folder's entries, are on the disk.

    A file that is gone was merged into another one, which is synced as well.
    """
    with suppress(FileNotFoundError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def local_folder(uri: str) -> Path | None:
    """The folder that a store's URI means on this machine; None for object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)
