"""The license of a model's weights, and where that is said."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError

CARD = "README.md"
OTHER = "other"
"""Name on the hub of a license that license_name names."""


@dataclass(frozen=True)
class License:
    """A license of weights.

    Attributes:
        name: as on the Hugging Face hub, in lower case: `mit`, `apache-2.0`, …; empty if it is not known.
        source: where that is said.
    """

    name: str = ""
    source: str = ""

    @property
    def words(self) -> str:
        """The name, or `unknown`."""
        return self.name or "unknown"


UNKNOWN = License()
DEMO_LICENSE = License("apache-2.0", "NOTICE of the bundled model")


def of_hub(repository: str) -> License:
    """Returns the license of the weights in a repository of the hub, as far as this package knows it."""
    content = (resources.files("clipserve_exporter") / "data" / "licenses.json").read_text(encoding="utf-8")
    for entry in json.loads(content)["hub"]:
        if fnmatch.fnmatchcase(repository.strip("/").removesuffix("/pytorch_model.bin"), entry["repository"]):
            return License(entry["license"], entry["source"])
    return UNKNOWN


def of_folder(folder: Path) -> License:
    """Returns the license that a folder's README.md names in its first lines, as on the hub."""
    card = folder / CARD
    if not card.is_file():
        return UNKNOWN
    from huggingface_hub import metadata_load

    try:
        metadata = metadata_load(card) or {}
    except Exception:  # A damaged README names no license.
        return UNKNOWN
    name = text(metadata.get("license"))
    if name == OTHER:
        name = text(metadata.get("license_name")) or OTHER
    return License(name, f"{CARD} of the folder") if name else UNKNOWN


def text(value: Any) -> str:
    """Returns the name of one license; several are joined."""
    names = value if isinstance(value, list) else [value]
    return ", ".join(str(name).strip().lower() for name in names if name)


def chosen(known: License, given: str) -> License:
    """Returns the license that --license names, or the known one. Raises ExportError if they differ."""
    name = given.strip().lower()
    if not name or name == known.name:
        return known
    if known.name:
        raise ExportError(
            f"the license of these weights is {known.name} ({known.source}), and --license says {name}; omit "
            "--license"
        )
    return License(name, "--license")


def require_allowed(license: License, allowed: Sequence[str], what: str) -> None:
    """Raises ExportError if a license is not one of `allowed`; an empty list allows all."""
    names = [name.strip().lower() for name in allowed if name.strip()]
    if not names or license.name in names:
        return
    if license.name:
        reason = f"has the license {license.name} ({license.source})"
        remedy = f"choose other weights, or add it to --licenses {','.join(names)}"
    else:
        reason = "has an unknown license"
        remedy = "read it where you got the weights, and pass --license NAME"
    raise ExportError(f"{what} {reason}, and --licenses allows {', '.join(names)}; {remedy}")
