"""What lies in a Triton model repository."""

from __future__ import annotations

from pathlib import Path

from clipserve_exporter.versions import served_version


def version_folder(repository: Path, tower: str) -> Path:
    """The folder with the files of a Triton model that are served."""
    return repository / tower / served_version(repository / tower)
