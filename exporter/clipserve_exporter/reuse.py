"""Whether a repository has the same export already. Does not need torch.

Beside the towers of NAME, `NAME.export.json` records what they were made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from clipserve_exporter.config import TOWER_SUFFIXES
from clipserve_exporter.precision import processor_flags
from clipserve_exporter.versions import served_version

SUFFIX = ".export.json"
PACKAGES = ("torch", "open_clip_torch", "timm", "transformers", "tokenizers")
"""Packages on which an export depends besides this one."""
PATHS = ("model", "pretrained", "tokenizer")
"""Options that may name a file or a folder."""


def export_key(options: Mapping[str, Any]) -> str:
    """Returns a hash of all that determines an export: options, files, this package, packages, processor."""
    facts = {
        "options": {name: str(value) for name, value in options.items()},
        "files": [stamp for name in PATHS for stamp in stamps(str(options.get(name) or ""))],
        "exporter": sources(),
        "packages": [version(name) for name in PACKAGES],
        "processor": [os.cpu_count(), sorted(processor_flags())],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def stamps(value: str) -> Iterator[tuple[str, int, int]]:
    """Yields path, size and time of change of each file that an option names."""
    path = Path(value.removeprefix("local-dir:"))
    if value and not path.exists() and "=" in value:
        path = Path(value.partition("=")[2])
    if not value or not path.exists():
        return
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            yield str(file.resolve()), status.st_size, status.st_mtime_ns


def sources() -> str:
    """Returns a hash of this package's files."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def version(package: str) -> str:
    """Returns the version of an installed package; empty if it is not installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def is_exported(out: Path, name: str, key: str) -> bool:
    """Whether the towers of a model in a repository come from an export with this key."""
    try:
        record = json.loads((out / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
        return bool(record == {"key": key, "version": version_in(out, name)})
    except (OSError, ValueError):
        return False


def record_export(out: Path, name: str, key: str) -> None:
    """Records an export. A record that cannot be written only makes the next export run again."""
    with contextlib.suppress(OSError):
        content = json.dumps({"key": key, "version": version_in(out, name)})
        (out / f"{name}{SUFFIX}").write_text(content, encoding="utf-8")


def version_in(out: Path, name: str) -> str | None:
    """Returns the version that both towers serve; None if they do not agree, or a file is missing."""
    folders = [out / f"{name}{suffix}" for suffix in TOWER_SUFFIXES[:2]]
    versions = {served_version(folder) for folder in folders}
    if len(versions) != 1 or not all(
        (folder / next(iter(versions)) / "model.pt").is_file() for folder in folders
    ):
        return None
    return next(iter(versions))
