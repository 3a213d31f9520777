"""Data sets are read up to a size, packed and unpacked: small archives can hold terabytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO

from clipserve.inputs.files import FileTooLarge, read_regular
from clipserve.tools.evaluation.dataset import DatasetError

MAX_FILE_BYTES = 1024 * 1024 * 1024
"""Of a whole set, packed and unpacked. The largest that is known (CIFAR-10 as raw arrays) has 180 MiB."""
MAX_MEMBER_BYTES = 256 * 1024 * 1024
"""Of one batch, and of whatever else an archive would have read at once."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; DatasetError for one that is too large. Raises OSError."""
    try:
        return read_regular(path, MAX_FILE_BYTES)
    except FileTooLarge as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error


class Bounded(io.RawIOBase):
    """A file that is read up to `limit` bytes in all, and not too many at once; DatasetError beyond that."""

    def __init__(self, file: BinaryIO | io.BufferedIOBase, limit: int) -> None:
        self._file = file
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if not 0 <= size <= MAX_MEMBER_BYTES:
            raise DatasetError(f"the archive has a part of more than {MAX_MEMBER_BYTES:,} bytes")
        content = self._file.read(size)
        self._check()
        return content

    def readinto(self, buffer: Any) -> int:
        """The next bytes, into a buffer."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves on; what is passed over counts, for it is unpacked too."""
        if whence == io.SEEK_SET and offset > self._limit:
            raise DatasetError(f"the archive unpacks to more than {self._limit:,} bytes")
        at = self._file.seek(offset, whence)
        self._check()
        return at

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def _check(self) -> None:
        if self._file.tell() > self._limit:
            raise DatasetError(f"the archive unpacks to more than {self._limit:,} bytes")
