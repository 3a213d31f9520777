"""The id and the payload of a picture's point."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from clipserve.jobs.points import MAX_ID_BYTES, MAX_URI_BYTES
from clipserve.types import PayloadValue

SCHEMA = {
    "path": "string",
    "root": "string",
    "folder": "string",
    "bytes": "int",
    "modified": "timestamp",
    "content_hash": "string",
}
"""path: relative to root, with slashes; root: the indexed folder, absolute; folder: parent folder, relative
to root; bytes: size of the file; modified: whole seconds; content_hash: SHA-256 of the file as hex."""


@dataclass(frozen=True)
class Picture:
    """A file below the indexed folder."""

    root: Path
    """Absolute."""
    path: Path
    """Absolute."""
    prefix: str = ""
    """Text in front of the path in the point's id, for folders with equal names in one collection."""

    @property
    def name(self) -> str:
        """The path below root, with slashes. Bytes that are not valid UTF-8 are surrogates."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def id(self) -> str:
        return point_id(self.prefix + self.name)

    @property
    def uri(self) -> str:
        """The file:// URI; empty if it is longer than MAX_URI_BYTES."""
        uri = self.path.as_uri()
        return uri if len(uri) <= MAX_URI_BYTES else ""

    def payload(
        self, facts: os.stat_result, content: bytes | None, fields: Set[str]
    ) -> dict[str, PayloadValue]:
        """The values of those of SCHEMA's fields that the collection has. The hash needs `content`."""
        values: dict[str, PayloadValue] = {
            "path": printable(self.name),
            "root": printable(self.root.as_posix()),
            "folder": printable(self.path.relative_to(self.root).parent.as_posix()),
            "bytes": facts.st_size if content is None else len(content),
        }
        with contextlib.suppress(ValueError, OverflowError, OSError):
            values["modified"] = dt.datetime.fromtimestamp(int(facts.st_mtime), dt.timezone.utc)
        if content is not None:
            values["content_hash"] = hashlib.sha256(content).hexdigest()
        return {name: value for name, value in values.items() if name in fields}


def point_id(path: str) -> str:
    """The path, or a hash of it if the path cannot be an id."""
    plain = path.isprintable() and 0 < len(path.encode(errors="surrogatepass")) <= MAX_ID_BYTES
    if plain and printable(path) == path:
        return path
    return "sha256:" + hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()


def printable(path: str | Path) -> str:
    """The path with a question mark for each byte of a file's name that is not valid UTF-8."""
    return str(path).encode(errors="replace").decode()
