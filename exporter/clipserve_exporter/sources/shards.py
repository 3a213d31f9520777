"""Weights in several files, with an index that says which file holds which tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipserve_exporter.errors import ExportError

INDEX_SUFFIX = ".index.json"
MAX_INDEX_BYTES = 100_000_000


def shard_files(path: Path) -> list[Path]:
    """Returns the files that an index names, in order; none if the file is JSON of another kind.

    Raises ExportError if the index is damaged, or names a file that is missing or not beside the index.
    """
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            return []
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path} is damaged JSON: {str(error)[:100]}; download the file again") from error
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict):
        return []
    names = list(dict.fromkeys(weight_map.values()))
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise ExportError(f"{path} names the file {name!r}, which is not a file beside it")
    files = [path.parent / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise ExportError(f"{path} names {len(files)} files, and {', '.join(missing[:3])} {verb} missing")
    return files
