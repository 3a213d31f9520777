"""Files that are read again when they change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""So long a change waits to be seen."""


class BadFile(Exception):
    """A file that cannot be used: which setting names it, and why."""


class Watched(Generic[T]):
    """What files hold. A change that cannot be used leaves what was read before, and is logged once."""

    def __init__(self, paths: Sequence[str], read: Callable[[], T]) -> None:
        """`read` returns what the files hold together; BadFile where it cannot, here and later."""
        self._paths = paths
        self._read = read
        self._seen = self._stamp()
        self.value = read()

    def refresh(self) -> None:
        """Looks, and reads what has changed."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        failure, value = None, self.value
        try:
            value = self._read()
        except BadFile as error:
            failure = str(error)
        except Exception as error:
            # The next look must come, whatever this is; its words may hold what the files do.
            failure = f"{', '.join(self._paths)}: {type(error).__name__}"
        if self._stamp() != stamp:
            return  # they are being written just now: what was read may belong to two versions
        self._seen = stamp
        if failure is None:
            self.value = value
            log.info("read again: %s", ", ".join(self._paths))
        else:
            log.error("%s; what was read before stays in use", failure)

    def _stamp(self) -> list[tuple[int, ...] | None]:
        """What tells one version of the files from another, through symlinks."""
        return [stamp_of(path) for path in self._paths]


def stamp_of(path: str) -> tuple[int, ...] | None:
    """Identity, size and times of a file; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


async def watch(watched: Sequence[Watched[Any]]) -> None:
    """Keeps them fresh. Runs until it is cancelled."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for each in watched:
            await asyncio.to_thread(each.refresh)


def read_bytes(path: str, setting: str) -> bytes:
    """What the file holds; BadFile, which names the setting."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise BadFile(f"{setting}: {path} cannot be read ({error.strerror})") from error
