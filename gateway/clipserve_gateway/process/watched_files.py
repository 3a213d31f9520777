"""Reads files again when they change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""Interval of checks; a change is used after at most this time."""


class BadFile(Exception):
    """A file is not valid. The message says which setting names it, and why."""


class Watched(Generic[T]):
    """The content of files. If a change is not valid, the previous content stays, and one error is logged."""

    def __init__(self, paths: Sequence[str], read: Callable[[], T]) -> None:
        """`read` returns the content of all files together, or raises BadFile."""
        self._paths = paths
        self._read = read
        self._seen = self._stamp()
        self.value = read()

    def refresh(self) -> None:
        """Reads the files again if one of them has changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        failure, value = None, self.value
        try:
            value = self._read()
        except BadFile as error:
            failure = str(error)
        except Exception as error:
            # The next check must follow any error. The error's message may contain the files' content.
            failure = f"{', '.join(self._paths)}: {type(error).__name__}"
        if self._stamp() != stamp:
            return  # The files are being written: the content may be of two versions.
        self._seen = stamp
        if failure is None:
            self.value = value
            log.info("read changed files: %s", ", ".join(self._paths))
        else:
            log.error("%s; the previous content stays in use", failure)

    def _stamp(self) -> list[tuple[int, ...] | None]:
        """Differs for each version of the files. Follows symlinks."""
        return [stamp_of(path) for path in self._paths]


def stamp_of(path: str) -> tuple[int, ...] | None:
    """Identity, size and times of a file; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


async def watch(watched: Sequence[Watched[Any]]) -> None:
    """Refreshes all of them every LOOK_SECONDS until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for each in watched:
            await asyncio.to_thread(each.refresh)


def read_bytes(path: str, setting: str) -> bytes:
    """The content of a file. Raises BadFile, which names the setting."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadFile(f"{setting}: {path} cannot be read ({error.strerror})") from error
