"""Finds or downloads the shared library of Python that Triton's Python backend loads."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from bootstrap import debian
from bootstrap.pythons import Python


class NoLibpython(Exception):
    """The library is not installed and cannot be downloaded."""


def library_name(python: Python) -> str:
    """For example `libpython3.11.so.1.0`."""
    return f"libpython{python.minor}.so.1.0"


def find(python: Python) -> Path | None:
    """The library of that interpreter on this machine; None if it is not installed.

    Tries the file that LIBPYTHON names, then the interpreter's installation, then the system. The library
    must have the interpreter's version.
    """
    name = library_name(python)
    named = Path(os.environ.get("LIBPYTHON", "")).resolve()
    if named.is_file() and version_of(named) == python.version:
        return named
    own = [Path(folder) for folder in (*python.folders, f"{python.base}/lib")]
    system = [Path("/usr/lib") / python.multiarch, Path("/usr/lib64"), Path("/usr/lib"), Path("/lib64")]
    for folder in [*own, *(folder / python.multiarch for folder in own if python.multiarch), *system]:
        path = folder / name
        if path.exists() and version_of(path) == python.version:
            return path.resolve()
    return None


def version_of(library: Path) -> tuple[int, ...] | None:
    """The version that a libpython reports; None if it cannot be loaded."""
    script = (
        "import ctypes, sys; f = ctypes.CDLL(sys.argv[1]).Py_GetVersion; "
        "f.restype = ctypes.c_char_p; print(f().decode())"
    )
    # In another process, as a second libpython in this one could crash it.
    command = [sys.executable, "-E", "-s", "-c", script, os.fspath(library)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(map(int, match.groups())) if match else None


def can_fetch(python: Python) -> bool:
    """Whether Debian has a package of the library: only for interpreters that Debian packages."""
    return debian.available() and python.base == "/usr" and debian.owner(os.path.realpath(python.path)) != ""


def fetch(python: Python, folder: Path) -> Path:
    """Downloads the library into `folder` without root. Raises NoLibpython."""
    package = f"libpython{python.minor}"
    version = debian.installed_version(debian.owner(os.path.realpath(python.path)))
    try:
        with debian.unpacked(package, version) as tree:
            files = sorted(tree.rglob(library_name(python)))
            if not files:
                raise NoLibpython(f"Debian's package {package} has no {library_name(python)}")
            target = folder / library_name(python)
            target.unlink(missing_ok=True)
            target.write_bytes(files[0].resolve().read_bytes())
    except debian.FetchFailed as error:
        raise NoLibpython(f"{package} cannot be downloaded: {error}. {by_hand(package)}") from error
    loaded = version_of(target)
    if loaded != python.version:
        target.unlink()
        raise NoLibpython(
            f"the available {package} has version {loaded and '.'.join(map(str, loaded))}, "
            f"but {python.words} needs its own version: update Python. {by_hand(package)}"
        )
    return target


def by_hand(package: str) -> str:
    return f"Or run `sudo apt-get install {package}`, or name a copy of the library: LIBPYTHON=FILE"


def provide(python: Python, environment: Path) -> Path:
    """Puts the library or a link to it into `environment`/lib, where the gateway looks first."""
    target = environment / "lib" / library_name(python)
    if target.exists() and version_of(target) == python.version:
        return target
    path = find(python)
    if path is None:
        return fetch(python, target.parent)
    target.unlink(missing_ok=True)
    target.symlink_to(path)
    return target
