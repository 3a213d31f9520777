"""Finds the Pythons of this machine, and the one that fits an environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Range = tuple[tuple[int, int], tuple[int, int]]
GATEWAY: Range = ((3, 11), (3, 14))
"""Oldest and newest Python of the gateway's environment: Starlette needs 3.11."""
MODELS: Range = ((3, 10), (3, 13))
"""Oldest and newest Python of the models' environment: Triton's wheel has a stub for each."""

PROBE = """
import json, sys, sysconfig
try:
    import ensurepip, venv
    has_venv = True
except ImportError:
    has_venv = False
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "base": sys.base_prefix,
    "has_venv": has_venv,
    "library": sysconfig.get_config_var("INSTSONAME") or "",
    "folders": [sysconfig.get_config_var(name) or "" for name in ("LIBDIR", "LIBPL")],
    "multiarch": sysconfig.get_config_var("MULTIARCH") or "",
}))
"""
PROBE_SECONDS = 20


@dataclass(frozen=True)
class Python:
    """One interpreter."""

    path: str
    version: tuple[int, int, int]
    has_venv: bool
    """Whether it can make a virtual environment with pip."""
    base: str
    """Folder of the installation; for an environment's Python, that of its base."""
    folders: tuple[str, ...] = ()
    """Folders that may have its shared library."""
    multiarch: str = ""

    @property
    def minor(self) -> str:
        """For example `3.11`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def words(self) -> str:
        """Path and version as text."""
        return f"{self.path} ({'.'.join(map(str, self.version))})"

    def fits(self, wanted: Range) -> bool:
        return wanted[0] <= self.version[:2] <= wanted[1]


def probe(path: str | Path) -> Python | None:
    """The interpreter at `path`; None if it does not run or if there are no wheels for its kind."""
    try:
        done = subprocess.run(
            [os.fspath(path), "-E", "-s", "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=True,
        )
        facts = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if facts["implementation"] != "cpython" or facts["bits"] != 64 or facts["free_threaded"]:
        return None
    return Python(
        path=os.fspath(path),
        version=tuple(facts["version"]),
        has_venv=facts["has_venv"],
        base=facts["base"],
        folders=tuple(folder for folder in facts["folders"] if folder),
        multiarch=facts["multiarch"],
    )


def minors(wanted: Range) -> list[str]:
    """The versions of a range, newest first."""
    (major, low), (_, high) = wanted
    return [f"{major}.{minor}" for minor in range(high, low - 1, -1)]


def candidates(wanted: Range, chosen: Sequence[str] = (sys.executable,)) -> Iterator[Python]:
    """Interpreters whose version is in the range: the chosen ones, then the newest on PATH, then uv's."""
    seen: set[str] = set()
    for path in paths(minors(wanted), chosen):
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        python = probe(path)
        if python and python.fits(wanted):
            yield python


def paths(versions: Sequence[str], chosen: Sequence[str]) -> Iterator[str]:
    """Paths that may be interpreters; some may not run."""
    yield from chosen
    for version in versions:
        for folder in os.get_exec_path():
            path = shutil.which(f"python{version}", path=folder)
            if path:
                yield path
    yield from uv_pythons(versions)


def uv_pythons(versions: Iterable[str]) -> Iterator[str]:
    """Interpreters that `uv` has already installed."""
    uv = shutil.which("uv")
    if uv is None:
        return
    for version in versions:
        command = [uv, "python", "find", "--no-project", "--no-python-downloads", version]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
        except (OSError, subprocess.SubprocessError):
            return
        if done.returncode == 0 and done.stdout.strip():
            yield done.stdout.strip()
