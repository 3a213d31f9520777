"""Writes towers into a Triton model repository: whole, or not at all."""

from __future__ import annotations

import contextlib
import py_compile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch

from clipserve_exporter.errors import ExportError

SERVER = ("model.py", "clipserve_cores.py")
"""What the Python backend runs, from the package's folder `backend`."""
CHECKED_HASH = py_compile.PycInvalidationMode.CHECKED_HASH


@dataclass(frozen=True)
class TowerFiles:
    """One Triton model's files."""

    config: str
    graph: torch.jit.ScriptModule
    python_backend: bool


def write(out: Path, towers: Mapping[str, TowerFiles]) -> list[Path]:
    """Writes Triton model name → files into the repository `out`; the folders written.

    All is written to a folder beside the repository first and then moved in. Where that fails, what was
    there before is there again.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".clipserve-export-", dir=workshop(out.absolute())) as name:
            fresh, old = Path(name) / "fresh", Path(name) / "old"
            old.mkdir()
            for model, files in towers.items():
                write_tower(fresh / model, files)
            with moving_back() as undo:
                for model in towers:
                    if (out / model).exists():
                        undo.move(out / model, old / model)
                    undo.move(fresh / model, out / model)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error}") from error
    return [out / model for model in towers]


def workshop(out: Path) -> Path:
    """Where to prepare files for `out`: on its file system, so that they can be moved in by renaming.

    Beside it if that will do, since Triton takes every folder in a repository for a model.
    """
    return out.parent if out.parent.stat().st_dev == out.stat().st_dev else out


def write_tower(folder: Path, files: TowerFiles) -> None:
    """One Triton model's folder: config.pbtxt and version 1."""
    version = folder / "1"
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(files.config, encoding="utf-8")
    files.graph.save(str(version / "model.pt"))
    if files.python_backend:
        for name in SERVER:
            source = resources.files("clipserve_exporter.backend").joinpath(name)
            code = version / name
            code.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
            # Written now and checked by content, the bytecode is never written by a Triton that serves: a
            # Triton that polls would take the new file for a changed model, and load it under its callers.
            py_compile.compile(str(code), doraise=True, invalidation_mode=CHECKED_HASH)


class Moves:
    """Renames that can be taken back."""

    def __init__(self) -> None:
        self._done: list[tuple[Path, Path]] = []

    def move(self, source: Path, target: Path) -> None:
        """Renames a folder within one file system."""
        source.rename(target)
        self._done.append((source, target))

    def back(self) -> None:
        """Takes all renames back, the last one first."""
        for source, target in reversed(self._done):
            target.rename(source)


@contextlib.contextmanager
def moving_back() -> Iterator[Moves]:
    """Takes the renames back if the block fails."""
    moves = Moves()
    try:
        yield moves
    except BaseException:
        moves.back()
        raise
