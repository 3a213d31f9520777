"""What a backup holds. It lies beside the tables as `manifest.json`, with its own SHA-256 in a second file.

BACKUP/manifest.json
BACKUP/manifest.sha256
BACKUP/store/TABLE.lance/…
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from clipserve_gateway.backup.errors import BackupError
from clipserve_gateway.backup.files import (
    MAX_SMALL,
    Advance,
    FileFacts,
    facts_of,
    files_below,
    read_small,
    write_private,
)
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.store_format import FORMAT

BACKUP_FORMAT = 1
TABLE = re.compile(r"[A-Za-z0-9_]+")
MANIFEST, CHECKSUM, STORE = "manifest.json", "manifest.sha256", "store"


@dataclass(frozen=True)
class TableFacts:
    """A table at the version that was copied."""

    rows: int
    version: int


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    created: str
    """When the backup began, ISO 8601, UTC."""
    gateway: str
    """Version of the gateway that made it."""
    store_format: int
    collections: Mapping[str, int]
    """Points of each collection."""
    aliases: int
    label_sets: int
    tables: Mapping[str, TableFacts]
    files: Mapping[str, FileFacts]
    """Every file below the folder but the manifest's own two, by its path with slashes."""
    backup_format: int = BACKUP_FORMAT

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes both files. BackupError, and nothing is written, where no restore would read them."""
    content = json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()
    if len(content) > MAX_SMALL:
        raise BackupError(
            f"the store has {len(manifest.files):,} files: the backup's manifest would have "
            f"{len(content) >> 20:,} MiB, a restore reads {MAX_SMALL >> 20} at most. A gateway that serves "
            "the store merges small files within minutes: back up again then, or save each collection with "
            "`clipserve export`; nothing was kept"
        )
    write_private(folder / MANIFEST, content)
    write_private(folder / CHECKSUM, hashlib.sha256(content).hexdigest().encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. BackupError for a folder that is not a backup, or for a newer gateway's."""
    try:
        content = read_small(folder / MANIFEST)
        checksum = read_small(folder / CHECKSUM).decode(errors="replace").strip()
    except OSError as error:
        name = Path(error.filename or folder).name
        raise BackupError(
            f"{folder} is not a whole backup: {name} cannot be read ({error.strerror})"
        ) from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise BackupError(f"{folder / MANIFEST} is damaged: its checksum differs from {CHECKSUM}")
    try:
        facts = json.loads(content)
        if facts["backup_format"] > BACKUP_FORMAT or facts["store_format"] > FORMAT:
            raise BackupError(
                f"{folder} was made by a newer gateway ({facts['gateway']}): update this one to restore it"
            )
        facts["tables"] = {table_name(name): TableFacts(**it) for name, it in facts["tables"].items()}
        facts["files"] = {checked(name): FileFacts(**it) for name, it in facts["files"].items()}
        if CATALOG not in facts["tables"]:
            raise ValueError("the catalog is not among the tables")
        counts = [facts["aliases"], facts["label_sets"], *facts["collections"].values()]
        counts += [count for it in facts["tables"].values() for count in (it.rows, it.version)]
        counts += [it.bytes for it in facts["files"].values()]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("a count is not a whole number")
        return Manifest(**facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error!r}") from error


def table_name(name: str) -> str:
    """The name of a table; ValueError for one that is not."""
    if not TABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a table")
    return name


def checked(name: str) -> str:
    """The path of a file; ValueError for one that is not below the store's folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (STORE,) or path.as_posix() != name:
        raise ValueError(f"path {name!r} is outside the backup")
    return name


def verify(folder: Path, manifest: Manifest, advance: Advance) -> None:
    """Reads every file of a backup. BackupError names the first that is missing, damaged or not listed."""
    there = set(files_below(folder)) - {MANIFEST, CHECKSUM}
    for name in sorted(manifest.files.keys() | there):
        if name not in manifest.files:
            raise BackupError(
                f"{folder / name} does not belong to the backup: remove it, or take another copy"
            )
        if name not in there:
            raise BackupError(f"{folder / name} is missing: the backup is not whole")
        try:
            found = facts_of(folder / name, advance)
        except OSError as error:
            raise BackupError(f"{folder / name} cannot be read: {error.strerror or error}") from error
        wanted = manifest.files[name]
        if found.bytes != wanted.bytes:
            raise BackupError(
                f"{folder / name} is damaged: it has {found.bytes:,} bytes, not {wanted.bytes:,}"
            )
        if found.sha256 != wanted.sha256:
            raise BackupError(f"{folder / name} is damaged: its SHA-256 is not that of the manifest")
