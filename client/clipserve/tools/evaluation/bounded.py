"""Size limits for data sets, before and after decompression. Small archives can unpack to terabytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from clipserve.inputs.files import FileTooLarge, read_regular
from clipserve.tools.evaluation.dataset import DatasetError

MAX_FILE_BYTES = 1024 * 1024 * 1024
"""Limit of a whole data set, packed or unpacked. The largest known one, CIFAR-10 as arrays, has 180 MiB."""
MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Limit of one batch, and of every single read from an archive."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises DatasetError if it is too large, OSError."""
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


class Bounded(io.RawIOBase):
    """A file with a limit on all bytes and on one read. Raises DatasetError beyond them."""

    def __init__(self, file: BinaryIO | io.BufferedIOBase, limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_MEMBER_BYTES:
            raise DatasetError(f"the archive has a part of more than {MAX_MEMBER_BYTES:,} bytes")
        content = self._file.read(size)
        self._check()
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves the position. Skipped bytes count too, as they are unpacked."""
        if whence == io.SEEK_SET and offset > self._limit:
            raise DatasetError(f"the archive unpacks to more than {self._limit:,} bytes")
        at = self._file.seek(offset, whence)
        self._check()
        return at

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _check(self) -> None:
        if self._file.tell() > self._limit:
            raise DatasetError(f"the archive unpacks to more than {self._limit:,} bytes")
