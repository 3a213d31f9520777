"""The state of an environment's set-up, in a file in the environment."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = ".clipserve.json"


@dataclass
class State:
    """The state after the last set-up."""

    root: str = ""
    """The project's folder; scripts of the environment have its full path."""
    python: str = ""
    """For example `3.11.2`."""
    device: str = ""
    """`cpu` or `cuda`: the build of torch; empty before torch is installed."""
    writing: str = ""
    """The stage that is being written; after the set-up, one that was interrupted."""
    done: dict[str, str] = field(default_factory=dict)
    """The digest of each finished stage."""
    proofs: dict[str, str] = field(default_factory=dict)
    """For each finished stage: pattern of a file that must exist."""
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """For each finished stage: downloaded bytes, and seconds."""


def load(environment: Path) -> State:
    """The state of an environment; an empty state if unknown."""
    try:
        facts = json.loads((environment / FILE).read_text(encoding="utf-8"))
        known = State(**facts)
    except (OSError, ValueError, TypeError, RecursionError):
        return State()
    return known if is_valid(known) else State()


def is_valid(known: State) -> bool:
    """Whether every field has its type, and every pattern is relative and not empty."""
    words = (known.root, known.python, known.device, known.writing)
    tables = (known.done, known.proofs)
    return (
        all(isinstance(word, str) for word in words)
        and isinstance(known.sizes, dict)
        and all(isinstance(table, dict) for table in tables)
        and all(isinstance(value, str) for table in tables for value in table.values())
        and all(proof and not proof.startswith("/") for proof in known.proofs.values())
    )


def save(environment: Path, state: State) -> None:
    """Writes the state atomically."""
    fresh = environment / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    os.replace(fresh, environment / FILE)
