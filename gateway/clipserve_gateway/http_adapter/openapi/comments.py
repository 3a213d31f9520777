"""The comments of the protos, by full name. `make protos` writes the file."""

from __future__ import annotations

import functools
import json
from pathlib import Path

FILE = Path(__file__).parents[2] / "data" / "api_comments.json"


@functools.cache
def _comments() -> dict[str, str]:
    return json.loads(FILE.read_text())


def comment(full_name: str) -> str:
    """The comment of a service, method, message, field, oneof, enum or enum value; empty if it has none."""
    return _comments().get(full_name, "")
