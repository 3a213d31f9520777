"""Reads the small JSON files of a model's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError

MAX_BYTES = 64 << 20
"""Tokenizers are the largest: some 35 MB."""


def read_json(path: Path) -> dict[str, Any]:
    """Returns a file's JSON object. Raises ExportError if it cannot be read or is something else."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(f"{path} has more than {MAX_BYTES >> 20} MiB, and cannot be a configuration")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path} is damaged JSON: {str(error)[:100]}; download the file again") from error
    if not isinstance(content, dict):
        raise ExportError(f"{path} does not contain a JSON object; download the file again")
    return content
