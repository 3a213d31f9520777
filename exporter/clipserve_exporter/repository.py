"""Writes towers into a Triton model repository: whole, or not at all.

Each export is a version of its own, with a number from the hash of what was written. The version before it
stays in service beside it: Triton loads both, gateways switch when both towers of the new one answer right,
and the older folder may be removed then.
"""

from __future__ import annotations

import contextlib
import filecmp
import functools
import py_compile
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from clipserve_exporter.errors import ExportError
from clipserve_exporter.staging import locked, staging, sweep
from clipserve_exporter.stopping import uninterrupted
from clipserve_exporter.versions import (
    CONFIG,
    policy_of,
    same_shape,
    served_version,
    version_number,
    versioned,
)

if TYPE_CHECKING:
    import torch

SERVER = ("model.py", "clipserve_cores.py", "clipserve_process.py")
"""What the Python backend runs, from the package's folder `backend`."""
CHECKED_HASH = py_compile.PycInvalidationMode.CHECKED_HASH
OLDER = 2
"""Versions that stay beside a new one, at most."""
LOADING_SECONDS = 120.0
"""A version that was named so long ago has been loaded, so those before it serve nobody."""


class VersionFiles(Protocol):
    """What is written of one Triton model."""

    @property
    def config(self) -> str:
        """config.pbtxt, still without a version."""
        ...

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of each file of the version."""
        ...


@dataclass(frozen=True)
class TowerFiles:
    """A tower as a TorchScript graph."""

    config: str
    graph: torch.jit.ScriptModule
    python_backend: bool

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """The graph and, for the Python backend, what runs it."""
        # By way of memory: where torch itself writes a file, a full disk ends the process on the spot.
        yield "model.pt", self.graph.save_to_buffer()
        if self.python_backend:
            for name in SERVER:
                yield name, resources.files("clipserve_exporter.backend").joinpath(name).read_bytes()


def write(out: Path, towers: Mapping[str, VersionFiles]) -> list[Path]:
    """Writes Triton model name → files into the repository `out`; the folders written.

    All is written to a folder of its own first and then moved in. Where that fails, what was there before is
    there again. One export at a time writes to a repository; others wait.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        out = out.absolute()
        with locked(out) as alone:
            if alone:
                sweep(out, list(towers))
            with staging(out, list(towers)) as stage:
                return move_in(out, towers, stage)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error}") from error


def move_in(out: Path, towers: Mapping[str, VersionFiles], stage: Mapping[str, Path]) -> list[Path]:
    """Prepares all in the folders of `stage`, and moves it into the repository."""
    for model, files in towers.items():
        write_version(stage[model] / "new", files)
    configs = {model: files.config for model, files in towers.items()}
    version = str(version_number(configs, {model: stage[model] / "new" for model in towers}))
    older = older_versions(out, configs, version)
    for model, config in configs.items():
        (stage[model] / CONFIG).write_text(versioned(config, version, older), encoding="utf-8")
    with uninterrupted(), moving_back() as undo:
        # Triton serves no version that the configuration does not name: so that comes last.
        for model in towers:
            put_version(out / model / version, stage[model], undo)
        for model in towers:
            put_config(out / model, stage[model], undo)
    for model in towers:
        remove_others(out / model, (*older, version), stage[model])
    return [out / model for model in towers]


def write_version(folder: Path, files: VersionFiles) -> None:
    """The files of one version."""
    folder.mkdir(parents=True)
    for name, content in files.contents():
        (folder / name).write_bytes(content)
        if name.endswith(".py"):
            # Written now and checked by content, the bytecode is never written by a Triton that serves: a
            # Triton that polls would take the new file for a changed model, and load it under its callers.
            code = str(folder / name)
            py_compile.compile(code, dfile=name, doraise=True, invalidation_mode=CHECKED_HASH)


def older_versions(out: Path, configs: Mapping[str, str], version: str) -> list[str]:
    """Versions that stay in service beside a new one, oldest first.

    They are those that a Triton may serve now: what the configurations name, and what they named before if
    that may not have been loaded yet. None where the new configuration declares other inputs and outputs,
    under which Triton could not load them.
    """
    served = [served_versions(out / model, config, version) for model, config in configs.items()]
    both = [number for number in served[0] if all(number in others for others in served)]
    return [number for number in both if all((out / model / number).is_dir() for model in configs)][-OLDER:]


def served_versions(folder: Path, config: str, version: str) -> list[str]:
    """Other versions of one Triton model that are served now and can be under a new configuration."""
    if not (folder / CONFIG).is_file():
        return []
    before, named = (folder / CONFIG).read_text(encoding="utf-8"), served_version(folder)
    if not same_shape(before, config):
        return []
    earlier = [number for number in policy_of(before) if number != named]
    if time.time() - (folder / CONFIG).stat().st_mtime >= LOADING_SECONDS:
        earlier = []
    return [number for number in (*earlier, named) if number != version]


def put_version(target: Path, stage: Path, undo: Moves) -> None:
    """Moves a version's files in. Those that are there already stay, unless somebody has changed them."""
    fresh = stage / "new"
    if target.exists():
        names = [path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file()]
        if filecmp.cmpfiles(fresh, target, names, shallow=False)[0] == names:
            return
        undo.move(target, stage / "changed")
    if not target.parent.exists():
        target.parent.mkdir()
        undo.then(target.parent.rmdir)
    undo.move(fresh, target)


def put_config(folder: Path, stage: Path, undo: Moves) -> None:
    """Moves a configuration in, over the one that is there if that is another."""
    fresh, target = stage / CONFIG, folder / CONFIG
    if not target.exists():
        undo.move(fresh, target)
    elif fresh.read_bytes() != target.read_bytes():
        shutil.copy2(target, stage / "before")
        fresh.replace(target)
        undo.then(functools.partial((stage / "before").replace, target))


def remove_others(folder: Path, kept: Sequence[str], stage: Path) -> None:
    """Removes the versions that nobody is served from. Each goes whole, so that Triton never sees a part."""
    for path in list(folder.iterdir()):
        if path.is_dir() and path.name.isdecimal() and path.name not in kept:
            # What cannot be removed is left to the next export.
            with contextlib.suppress(OSError):
                path.rename(stage / f"old-{path.name}")


class Moves:
    """Renames that can be taken back."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()

    def move(self, source: Path, target: Path) -> None:
        """Renames within one file system."""
        source.rename(target)
        self._undo.callback(target.rename, source)

    def then(self, take_back: Callable[[], object]) -> None:
        """Enters what takes a step back that was made."""
        self._undo.callback(take_back)

    def back(self) -> None:
        """Takes all steps back, the last one first."""
        self._undo.close()


@contextlib.contextmanager
def moving_back() -> Iterator[Moves]:
    """Takes the renames back if the block fails."""
    moves = Moves()
    try:
        yield moves
    except BaseException:
        moves.back()
        raise
