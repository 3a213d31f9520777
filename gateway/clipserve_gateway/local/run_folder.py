"""The folder that Triton runs from, with plain paths to the models and their environment.

Triton's Python backend starts its stub by a bash command line without quoting: a space, a quote or a `$` in a
path breaks it. Therefore Triton gets links in a temporary folder:

    models                  → the model repository
    env                     → the models' environment
    libraries               → the shared libraries of the wheel
    nvidia_pytriton.libs/   libpython, where the stub looks first
    opt/triton/backends/    the Python backend and its stub, copies
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clipserve_gateway.local.install import TritonInstall, assemble_backends, link

PLAIN = re.compile(r"/[A-Za-z0-9_./+-]*")
NEEDED_BYTES = 16 << 20
"""Free space for the backend and its stub, with a margin."""
PREFIX = "clipserve-triton-"


class NoPlainFolder(Exception):
    """Triton can run from no temporary folder; the message has the reason for each."""


@dataclass(frozen=True)
class RunFolder:
    """The paths with which Triton is started."""

    install: TritonInstall
    """With plain paths, except for the binary, which must stay in its place."""
    models: Path
    backends: Path


def lay_out(install: TritonInstall, repository: Path, folder: Path) -> RunFolder:
    """Fills a folder with a plain path. Raises OSError if it cannot be written."""
    backends = assemble_backends(install, folder)
    names = {"models": repository, "env": install.models_env, "libraries": install.library_path[0]}
    for name, target in names.items():
        link(folder / name, target)
    plain = dataclasses.replace(
        install,
        models_env=folder / "env",
        library_path=(folder / "nvidia_pytriton.libs", folder / "libraries"),
    )
    return RunFolder(plain, folder / "models", backends)


def temporary_folder(environment: Mapping[str, str]) -> tempfile.TemporaryDirectory[str]:
    """A new temporary folder that Triton can run from. Raises NoPlainFolder if there is no place for it."""
    return tempfile.TemporaryDirectory(prefix=PREFIX, dir=first_fit(candidates(environment)))


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """Places for temporary files, the preferred one first."""
    named = [environment.get("TMPDIR", ""), "/tmp", "/var/tmp", "/dev/shm"]
    named.append(environment.get("XDG_RUNTIME_DIR", ""))
    return [Path(name) for name in named if name]


def first_fit(places: Iterable[Path]) -> Path:
    """The first place that Triton can run from. Raises NoPlainFolder if there is none."""
    problems = []
    for place in places:
        problem = problem_of(place)
        if not problem:
            return place
        problems.append(f"{place} {problem}")
    raise NoPlainFolder(
        f"Triton can run from no temporary folder ({'; '.join(problems)}); set TMPDIR to a usable one"
    )


def problem_of(place: Path) -> str:
    """Why Triton cannot run from a folder; empty if it can."""
    if not PLAIN.fullmatch(str(place)):
        return "has other characters in its path than ASCII letters, digits and _ . / + -"
    if not place.is_dir():
        return "is not a folder"
    if not os.access(place, os.W_OK | os.X_OK):
        return "cannot be written"
    system = os.statvfs(place)
    if system.f_flag & os.ST_NOEXEC:
        return "is mounted noexec"
    if system.f_bavail * system.f_frsize < NEEDED_BYTES:
        return "is full"
    return ""
