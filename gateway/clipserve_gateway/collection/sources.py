"""Reads the sources of points again, only from places that the operator allows."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import os.path
from collections.abc import Sequence
from dataclasses import dataclass

from clipserve_gateway.collection.open_below import NotBelow, open_below
from clipserve_gateway.errors import ImageTooLarge, InvalidInput
from clipserve_gateway.setting_values import parse_source_uri
from clipserve_gateway.types import EncodedImage, Input

log = logging.getLogger(__name__)

TEXT_SUFFIX = ".txt"
MAX_READERS = 8
MAX_DETAIL = 500
"""Characters of a system error in the log."""


@dataclass(frozen=True)
class Location:
    """A parsed URI: scheme, host or bucket, and path without percent encoding."""

    scheme: str
    host: str
    path: str

    def contains(self, other: Location) -> bool:
        """Whether `other` is inside this folder."""
        if (self.scheme, self.host) != (other.scheme, other.host):
            return False
        folder = resolved(self)
        return resolved(other).startswith(folder if folder.endswith("/") else folder + "/")


class SourceReader:
    """Reads files under allowed prefixes.

    Args:
        prefixes: URIs of folders, e.g. `file:///data/photos` or `s3://bucket/photos`; empty allows nothing.
        max_bytes: maximum size of one file.
    """

    def __init__(self, prefixes: Sequence[str], max_bytes: int) -> None:
        self._prefixes = [parse(prefix) for prefix in prefixes]
        self._max_bytes = max_bytes
        self._slots = asyncio.Semaphore(MAX_READERS)

    def allows(self, uri: str) -> bool:
        """Whether the URI is under an allowed prefix."""
        try:
            location = parse(uri)
        except InvalidInput:
            return False
        return any(prefix.contains(location) for prefix in self._prefixes)

    async def read(self, uri: str) -> Input:
        """The image or (for `.txt` files) text at a URI, or an InvalidInput with the reason."""
        if not self.allows(uri):
            return InvalidInput("its source_uri is not under an allowed prefix (CLIPSERVE_SOURCE_PREFIXES)")
        async with self._slots:
            return await asyncio.to_thread(self._read, parse(uri))

    def _read(self, location: Location) -> Input:
        try:
            content = self._local(location) if location.scheme == "file" else self._remote(location)
        except (OSError, ValueError) as error:
            # File names and link targets are for the log only.
            why = (
                "the file does not exist" if isinstance(error, FileNotFoundError) else "see the server's log"
            )
            log.info("a source cannot be read: %s", str(error)[:MAX_DETAIL])
            return InvalidInput(f"its source cannot be read: {why}", detail=str(error)[:MAX_DETAIL])
        if len(content) > self._max_bytes:
            return ImageTooLarge(f"its source has more than {self._max_bytes} bytes")
        if not location.path.endswith(TEXT_SUFFIX):
            return EncodedImage(content)
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            return InvalidInput("its source is not valid UTF-8")

    def _local(self, location: Location) -> bytes:
        """The content; of a file that is too large, some content of `max_bytes` + 1."""
        prefix = next((prefix for prefix in self._prefixes if prefix.contains(location)), None)
        if prefix is None:
            raise NotBelow("it was moved out of the allowed folder")
        with open_below(prefix.path, location.path) as file:
            if os.fstat(file.fileno()).st_size > self._max_bytes:
                return bytes(self._max_bytes + 1)
            return file.read(self._max_bytes + 1)

    def _remote(self, location: Location) -> bytes:
        """The content, cut at `max_bytes` + 1."""
        fs = importlib.import_module("pyarrow.fs")
        system, _ = fs.FileSystem.from_uri(f"{location.scheme}://{location.host}/")
        with system.open_input_stream(location.host + location.path) as stream:
            return bytes(stream.read(self._max_bytes + 1))


def parse(uri: str) -> Location:
    """The location that a URI names. Raises InvalidInput for parts that are not allowed."""
    try:
        return Location(*parse_source_uri(uri))
    except ValueError as error:
        raise InvalidInput(str(error), field="source_uri") from None


def resolved(location: Location) -> str:
    """The path. Symbolic links of local paths are resolved, because they could lead out of a folder."""
    return os.path.realpath(location.path) if location.scheme == "file" else location.path
