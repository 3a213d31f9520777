"""What an environment holds so far, remembered in a file inside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = ".clipserve.json"


@dataclass
class State:
    """One environment, as its last set-up left it."""

    root: str = ""
    """Where the project lay: scripts of an environment hold its full path."""
    python: str = ""
    """For example `3.11.2`."""
    device: str = ""
    """`cpu` or `cuda`: which build of torch was asked for; empty before torch is installed."""
    writing: str = ""
    """The stage that was being written; if one is named here, it was interrupted."""
    done: dict[str, str] = field(default_factory=dict)
    """The digest of each finished stage."""
    proofs: dict[str, str] = field(default_factory=dict)
    """Of finished stages: a pattern of a file that must be there."""
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """Of each finished stage: bytes downloaded, and seconds."""


def load(environment: Path) -> State:
    """The state of an environment; an empty one if it is not known."""
    try:
        facts = json.loads((environment / FILE).read_text(encoding="utf-8"))
        return State(**facts) if isinstance(facts, Mapping) else State()
    except (OSError, ValueError, TypeError):
        return State()


def save(environment: Path, state: State) -> None:
    """Writes the state; a reader sees the old one or the new one."""
    fresh = environment / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, environment / FILE)
