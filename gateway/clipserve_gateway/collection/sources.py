"""Reads what points were made of again, from where the operator allows it and nowhere else."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import os.path
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

from clipserve_gateway.collection.open_below import NotBelow, open_below
from clipserve_gateway.errors import ImageTooLarge, InvalidInput
from clipserve_gateway.types import EncodedImage, Input

log = logging.getLogger(__name__)

SCHEMES = ("file", "s3", "gs")
TEXT_SUFFIX = ".txt"
READERS = 8


@dataclass(frozen=True)
class Place:
    """A parsed URI: scheme, host or bucket, and path without percent signs."""

    scheme: str
    host: str
    path: str

    def holds(self, other: Place) -> bool:
        """Whether `other` lies in this folder."""
        if (self.scheme, self.host) != (other.scheme, other.host):
            return False
        folder = resolved(self)
        return resolved(other).startswith(folder if folder.endswith("/") else folder + "/")


class SourceReader:
    """Reads files under allowed prefixes.

    Args:
        prefixes: URIs of folders, e.g. `file:///data/photos` or `s3://bucket/photos`; none allows nothing.
        max_bytes: of one file.
    """

    def __init__(self, prefixes: Sequence[str], max_bytes: int) -> None:
        self._prefixes = [parse(prefix) for prefix in prefixes]
        self._max_bytes = max_bytes
        self._gate = asyncio.Semaphore(READERS)

    def allows(self, uri: str) -> bool:
        """Whether the URI lies under an allowed prefix."""
        try:
            place = parse(uri)
        except InvalidInput:
            return False
        return any(prefix.holds(place) for prefix in self._prefixes)

    async def read(self, uri: str) -> Input:
        """The image or (of `.txt` files) text at a URI, or an InvalidInput that says why there is none."""
        if not self.allows(uri):
            return InvalidInput("its source_uri is not under a prefix that sources may be read from")
        async with self._gate:
            return await asyncio.to_thread(self._read, parse(uri))

    def _read(self, place: Place) -> Input:
        try:
            content = self._local(place) if place.scheme == "file" else self._remote(place)
        except (OSError, ValueError) as error:
            # Which file it is, and where links lead, is for the log.
            why = "there is none" if isinstance(error, FileNotFoundError) else "the server's log says why"
            log.info("a source cannot be read: %s", str(error)[:500])
            return InvalidInput(f"its source cannot be read: {why}", detail=str(error)[:500])
        if len(content) > self._max_bytes:
            return ImageTooLarge(f"its source has more than {self._max_bytes} bytes")
        if not place.path.endswith(TEXT_SUFFIX):
            return EncodedImage(content)
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            return InvalidInput("its source is no text in UTF-8")

    def _local(self, place: Place) -> bytes:
        """Up to a byte more than the limit; of a larger file, nothing is read."""
        prefix = next((prefix for prefix in self._prefixes if prefix.holds(place)), None)
        if prefix is None:
            raise NotBelow("it was moved out of the folder")
        with open_below(prefix.path, place.path) as file:
            if os.fstat(file.fileno()).st_size > self._max_bytes:
                return bytes(self._max_bytes + 1)
            return file.read(self._max_bytes + 1)

    def _remote(self, place: Place) -> bytes:
        """Up to a byte more than the limit."""
        fs = importlib.import_module("pyarrow.fs")
        system, _ = fs.FileSystem.from_uri(f"{place.scheme}://{place.host}/")
        with system.open_input_stream(place.host + place.path) as stream:
            return bytes(stream.read(self._max_bytes + 1))


def parse(uri: str) -> Place:
    """The place a URI names. InvalidInput for schemes, hosts or parts that are not allowed.

    Options in a query part could lead elsewhere (another endpoint), so there must be none.
    """
    try:
        parts = urllib.parse.urlsplit(uri)
        path = urllib.parse.unquote(parts.path, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise InvalidInput("this is no URI", field="source_uri") from None
    local = parts.scheme == "file"
    if parts.scheme not in SCHEMES or local == bool(parts.netloc) or (local and not path.startswith("/")):
        raise InvalidInput("give a URI such as file:///folder/1.jpg or s3://bucket/1.jpg", field="source_uri")
    if parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc:
        raise InvalidInput("a source URI has no query, fragment, user or port", field="source_uri")
    if "\0" in path or ".." in path.split("/"):
        raise InvalidInput("a source URI has no `..`", field="source_uri")
    return Place(parts.scheme, parts.netloc, path)


def resolved(place: Place) -> str:
    """The path; of local files, without symbolic links, which could lead out of a folder."""
    return os.path.realpath(place.path) if place.scheme == "file" else place.path
