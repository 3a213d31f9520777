"""The manifest of a backup: `manifest.json` beside the tables, and its SHA-256 in a second file.

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

from clipserve_gateway.backup.files import (
    MAX_SMALL,
    Advance,
    BackupError,
    FileFacts,
    facts_of,
    files_below,
    read_small,
    write_private,
)
from clipserve_gateway.index.lance.backup import TableCopy
from clipserve_gateway.index.lance.store import CATALOG
from clipserve_gateway.index.store_format import FORMAT

BACKUP_FORMAT = 1
TABLE = re.compile(r"[A-Za-z0-9_]+")
MANIFEST, CHECKSUM, STORE = "manifest.json", "manifest.sha256", "store"


@dataclass(frozen=True)
class Manifest:
    """The content of a backup."""

    created: str
    """When the backup began, ISO 8601, UTC."""
    gateway: str
    """Version of the gateway that made the backup."""
    store_format: int
    collections: Mapping[str, int]
    """Number of points by collection."""
    aliases: int
    label_sets: int
    tables: Mapping[str, TableCopy]
    files: Mapping[str, FileFacts]
    """Every file of the backup except the manifest and its checksum, by path with slashes."""
    backup_format: int = BACKUP_FORMAT

    @property
    def bytes(self) -> int:
        """Total size of all files."""
        return sum(file.bytes for file in self.files.values())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes both files. Raises BackupError, and writes nothing, if they are too large for a restore."""
    content = json.dumps(asdict(manifest), indent=1, sort_keys=True).encode()
    if len(content) > MAX_SMALL:
        raise BackupError(
            f"the store has {len(manifest.files):,} files, so the manifest would have "
            f"{len(content) >> 20:,} MiB; a restore reads at most {MAX_SMALL >> 20} MiB. A gateway that "
            "serves the store merges small files within minutes: back up again after that, or save each "
            "collection with `clipserve export`. No backup was kept"
        )
    write_private(folder / MANIFEST, content)
    write_private(folder / CHECKSUM, hashlib.sha256(content).hexdigest().encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup. Raises BackupError if it is not valid, or was made by a newer gateway."""
    try:
        content = read_small(folder / MANIFEST)
        checksum = read_small(folder / CHECKSUM).decode(errors="replace").strip()
    except OSError as error:
        name = Path(error.filename or folder).name
        raise BackupError(
            f"{folder} is not a complete backup: {name} cannot be read ({error.strerror})"
        ) from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise BackupError(f"{folder / MANIFEST} is damaged: its checksum differs from {CHECKSUM}")
    try:
        facts = json.loads(content)
        if facts["backup_format"] > BACKUP_FORMAT or facts["store_format"] > FORMAT:
            raise BackupError(
                f"{folder} was made by a newer gateway ({facts['gateway']}); update this one to restore it"
            )
        facts["tables"] = {table_name(name): TableCopy(**one) for name, one in facts["tables"].items()}
        facts["files"] = {file_path(name): FileFacts(**one) for name, one in facts["files"].items()}
        if CATALOG not in facts["tables"]:
            raise ValueError("the tables do not include the catalog")
        counts = [facts["aliases"], facts["label_sets"], *facts["collections"].values()]
        counts += [count for table in facts["tables"].values() for count in (table.rows, table.version)]
        counts += [file.bytes for file in facts["files"].values()]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("a count is not a non-negative integer")
        return Manifest(**facts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error!r}") from error


def table_name(name: str) -> str:
    """The name of a table. Raises ValueError if it is not valid."""
    if not TABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid table name")
    return name


def file_path(name: str) -> str:
    """The path of a file. Raises ValueError if it is not inside the backup's store folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] != (STORE,) or path.as_posix() != name:
        raise ValueError(f"path {name!r} is outside the backup")
    return name


def verify(folder: Path, manifest: Manifest, advance: Advance) -> None:
    """Reads every file. Raises BackupError for the first that is missing, damaged or not in the manifest."""
    existing = set(files_below(folder)) - {MANIFEST, CHECKSUM}
    for name in sorted(manifest.files.keys() | existing):
        if name not in manifest.files:
            raise BackupError(
                f"{folder / name} does not belong to the backup; remove it, or use another copy of the backup"
            )
        if name not in existing:
            raise BackupError(f"{folder / name} is missing: the backup is not complete")
        try:
            actual = facts_of(folder / name, advance)
        except OSError as error:
            raise BackupError(f"{folder / name} cannot be read: {error.strerror or error}") from error
        expected = manifest.files[name]
        if actual.bytes != expected.bytes:
            raise BackupError(
                f"{folder / name} is damaged: it has {actual.bytes:,} bytes, not {expected.bytes:,}"
            )
        if actual.sha256 != expected.sha256:
            raise BackupError(f"{folder / name} is damaged: its SHA-256 differs from the manifest")
