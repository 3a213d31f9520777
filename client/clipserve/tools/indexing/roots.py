"""The folders that this user indexed on this machine. Contact sheets show only their pictures.

A payload names the file of its picture, but anybody who may write points can make it name any file. So
`clipserve index` records the folder, and sheets open only files below recorded folders or below --root.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from clipserve.inputs.files import read_regular
from clipserve.tools.indexing.facts import printable

MAX_ROOTS = 1_000
"""Maximum number of recorded folders; the oldest are dropped."""
MAX_BYTES = 16 * 1024 * 1024


def state_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "clipserve" / "roots.json"


def recorded_roots() -> list[str]:
    """The recorded folders, oldest first; empty if the file cannot be read."""
    try:
        roots = json.loads(read_regular(state_file(), MAX_BYTES))
    except (OSError, ValueError, RuntimeError, RecursionError):
        return []
    return [root for root in roots if isinstance(root, str)] if isinstance(roots, list) else []


def record_root(root: Path) -> None:
    """Records an indexed folder, absolute. If it cannot be written, sheets need --root."""
    roots = [*(known for known in recorded_roots() if known != str(root)), str(root)]
    if recorded_roots()[-1:] == roots[-1:]:
        return
    with contextlib.suppress(OSError, RuntimeError):
        file = state_file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Replaced in one step, as two commands may write at the same time.
        descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix=".roots-")
        with os.fdopen(descriptor, "w") as written:
            json.dump(roots[-MAX_ROOTS:], written)
        os.replace(unfinished, file)


def known_root(root_in_payload: object) -> Path | None:
    """The recorded folder that a payload's `root` names; None if it is not recorded."""
    return next(
        (Path(root) for root in reversed(recorded_roots()) if printable(root) == root_in_payload), None
    )
