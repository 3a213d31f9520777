"""Writes the parts of a model into a Triton model repository, either completely or not at all.

Each export is a new version, whose number is a hash of its files. The previous version stays in service:
Triton loads both, and gateways switch when both towers of the new version answer correctly. Then the older
folder may be removed.
"""

from __future__ import annotations

import contextlib
import filecmp
import py_compile
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from clipserve_exporter.config import TOKENIZER
from clipserve_exporter.errors import ExportError
from clipserve_exporter.staging import locked, staging, sweep
from clipserve_exporter.stopping import uninterrupted
from clipserve_exporter.versions import (
    CONFIG,
    parameters_of,
    policy_of,
    same_shape,
    served_version,
    version_number,
    versioned,
)

if TYPE_CHECKING:
    import torch

SERVER = ("model.py", "clipserve_process.py")
"""Files that the Python backend runs, from the package's folder `backend`."""
CHECKED_HASH = py_compile.PycInvalidationMode.CHECKED_HASH
OLDER = 2
"""Most older versions that stay in service beside a new one."""
LOADING_SECONDS = 120.0
"""Time after which Triton has loaded a version, so that versions before it are not in use."""


@dataclass(frozen=True)
class TowerFiles:
    """The files of a tower."""

    config: str
    graph: torch.jit.ScriptModule
    python_backend: bool

    def contents(self) -> Iterator[tuple[str, bytes]]:
        """Yields the graph and, for the Python backend, the code that runs it."""
        # Through memory: if torch writes the file itself, a full disk ends the process at once.
        yield "model.pt", self.graph.save_to_buffer()
        if self.python_backend:
            for name in SERVER:
                yield name, resources.files("clipserve_exporter.backend").joinpath(name).read_bytes()


def write(out: Path, towers: Mapping[str, TowerFiles], obsolete: Sequence[str] = ()) -> list[Path]:
    """Writes the files of Triton models by name into the repository `out`; returns the models' folders.

    Removes Triton models of the names in `obsolete` if an export wrote them for a tokenizer.
    Files are written to a staging folder first and then moved in. If that fails, the repository is restored.
    One export at a time writes to a repository; others wait. Raises ExportError.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        out = out.absolute()
        with locked(out) as alone:
            if alone:
                sweep(out, list(towers))
            with staging(out, list(towers)) as stage:
                return move_in(out, towers, stage, obsolete)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error}") from error


def move_in(
    out: Path, towers: Mapping[str, TowerFiles], stage: Mapping[str, Path], obsolete: Sequence[str]
) -> list[Path]:
    """Prepares all files in the folders of `stage`, and moves them into the repository."""
    for model, files in towers.items():
        write_version(stage[model] / "new", files)
    configs = {model: files.config for model, files in towers.items()}
    version = str(version_number(configs, {model: stage[model] / "new" for model in towers}))
    older = older_versions(out, configs, version)
    for model, config in configs.items():
        (stage[model] / CONFIG).write_text(versioned(config, version, older), encoding="utf-8")
    with uninterrupted(), contextlib.ExitStack() as undo:
        # Triton serves only versions that the configuration names, so the configuration comes last.
        for model in towers:
            put_version(out / model / version, stage[model], undo)
        for model in towers:
            put_config(out / model, stage[model], undo)
        for model in obsolete:
            if is_tokenizer(out / model):
                move(out / model, next(iter(stage.values())) / model, undo)
        undo.pop_all()
    for model in towers:
        remove_others(out / model, (*older, version), stage[model])
    return [out / model for model in towers]


def is_tokenizer(folder: Path) -> bool:
    """Whether an export wrote a Triton model for a tokenizer."""
    config = folder / CONFIG
    return config.is_file() and parameters_of(config.read_text(encoding="utf-8")).get("tower") == TOKENIZER


def write_version(folder: Path, files: TowerFiles) -> None:
    """Writes the files of one version."""
    folder.mkdir(parents=True)
    for name, content in files.contents():
        (folder / name).write_bytes(content)
        if name.endswith(".py"):
            # Bytecode that is written now and checked by content is not written by Triton later. A Triton
            # that polls would take that new file for a changed model, and reload the model.
            code = str(folder / name)
            py_compile.compile(code, dfile=name, doraise=True, invalidation_mode=CHECKED_HASH)


def older_versions(out: Path, configs: Mapping[str, str], version: str) -> list[str]:
    """Returns the versions that stay in service beside a new one, oldest first.

    Triton may serve the versions that the configurations name now, and the versions that they named before
    if Triton may not have loaded the current ones yet. Returns none if the new configuration declares other
    inputs and outputs, with which Triton could not load older versions.
    """
    served = [served_versions(out / model, config, version) for model, config in configs.items()]
    both = [number for number in served[0] if all(number in others for others in served)]
    return [number for number in both if all((out / model / number).is_dir() for model in configs)][-OLDER:]


def served_versions(folder: Path, config: str, version: str) -> list[str]:
    """Returns other versions of one Triton model that are served now and fit a new configuration."""
    if not (folder / CONFIG).is_file():
        return []
    before, named = (folder / CONFIG).read_text(encoding="utf-8"), served_version(folder)
    if not same_shape(before, config):
        return []
    earlier = [number for number in policy_of(before) if number != named]
    if time.time() - (folder / CONFIG).stat().st_mtime >= LOADING_SECONDS:
        earlier = []
    return [number for number in (*earlier, named) if number != version]


def put_version(target: Path, stage: Path, undo: contextlib.ExitStack) -> None:
    """Moves a version's files in. Files that exist stay, unless they were changed."""
    fresh = stage / "new"
    if target.exists():
        names = [path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file()]
        if filecmp.cmpfiles(fresh, target, names, shallow=False)[0] == names:
            return
        move(target, stage / "changed", undo)
    if not target.parent.exists():
        target.parent.mkdir()
        undo.callback(target.parent.rmdir)
    move(fresh, target, undo)


def put_config(folder: Path, stage: Path, undo: contextlib.ExitStack) -> None:
    """Moves a configuration in; replaces an existing one if it differs."""
    fresh, target = stage / CONFIG, folder / CONFIG
    if not target.exists():
        move(fresh, target, undo)
    elif fresh.read_bytes() != target.read_bytes():
        shutil.copy2(target, stage / "before")
        fresh.replace(target)
        undo.callback((stage / "before").replace, target)


def remove_others(folder: Path, kept: Sequence[str], stage: Path) -> None:
    """Removes versions that are not in use. Each is renamed first, so that Triton never sees a part of it."""
    for path in list(folder.iterdir()):
        if path.is_dir() and path.name.isdecimal() and path.name not in kept:
            # The next export removes what cannot be removed now.
            with contextlib.suppress(OSError):
                path.rename(stage / f"old-{path.name}")


def move(source: Path, target: Path, undo: contextlib.ExitStack) -> None:
    """Renames within one file system; `undo` renames it back."""
    source.rename(target)
    undo.callback(target.rename, source)
