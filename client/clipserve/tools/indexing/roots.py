"""The folders that were indexed on this machine, by this user: contact sheets show pictures of these.

A point's payload says where its picture lies, but whoever may write points can make it name any folder. So
`clipserve index` notes the folder here, and only files below noted folders, or below --root, are opened.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

from clipserve.inputs.files import read_regular
from clipserve.tools.indexing.facts import printable

MOST = 1_000
"""Folders that are remembered; the oldest go first."""
MAX_BYTES = 16 * 1024 * 1024


def state_file() -> Path:
    """Where they are noted."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "clipserve" / "roots.json"


def noted() -> list[str]:
    """The folders, oldest first; none where they cannot be read."""
    try:
        roots = json.loads(read_regular(state_file(), MAX_BYTES))
    except (OSError, ValueError, RuntimeError, RecursionError):
        return []
    return [root for root in roots if isinstance(root, str)] if isinstance(roots, list) else []


def note_root(root: Path) -> None:
    """Notes an indexed folder, absolute. Where nothing can be written, sheets need --root."""
    roots = [*(known for known in noted() if known != str(root)), str(root)]
    if noted()[-1:] == roots[-1:]:
        return
    with contextlib.suppress(OSError, RuntimeError):
        file = state_file()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In one step: two commands may write at a time.
        descriptor, unfinished = tempfile.mkstemp(dir=file.parent, prefix=".roots-")
        with os.fdopen(descriptor, "w") as made:
            json.dump(roots[-MOST:], made)
        os.replace(unfinished, file)


def known_root(told: object) -> Path | None:
    """The indexed folder that a payload's `root` names; None if this user indexed no such folder here."""
    return next((Path(root) for root in reversed(noted()) if printable(root) == told), None)
