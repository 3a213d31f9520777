"""Finds Triton in a virtual environment with nvidia-pytriton."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

STUB = "triton_python_backend_stub"
SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
"""Python versions of the models' environment for which the wheel has a stub and this project a test."""
REPAIR = "run `make setup`, or by hand `{python} -m pip install --no-deps nvidia-pytriton==0.7.0`"
LIBPYTHON = re.compile(rb"libpython3[\w.-]*?\.so(?:\.\d+)*")
STUB_LIBRARIES = "nvidia_pytriton.libs"
"""The first folder where the stub looks for libraries: beside the fourth folder above it (its DT_RPATH)."""

FACTS_PROGRAM = """
import importlib.util, json, sys, sysconfig
spec = importlib.util.find_spec("pytriton")
print(json.dumps({
    "pytriton": spec and list(spec.submodule_search_locations or [None])[0],
    "version": "%d.%d" % sys.version_info[:2],
    "libdirs": [sysconfig.get_config_var(name) or "" for name in ("LIBDIR", "LDLIBRARYDIR")],
    "multiarch": sysconfig.get_config_var("MULTIARCH") or "",
}))
"""
"""Does not import pytriton, which needs packages that Triton itself does not need."""


class TritonMissing(Exception):
    """This machine cannot run Triton; the message says what to install."""


@dataclass(frozen=True)
class TritonInstall:
    """The parts of Triton."""

    binary: Path
    python_backend: Path
    stub: Path
    libpython: Path
    library_path: tuple[Path, ...]
    """Folders of shared libraries, for LD_LIBRARY_PATH."""
    models_env: Path


def find_install(models_env: Path) -> TritonInstall:
    """The Triton in the virtual environment `models_env`. Raises TritonMissing if a part is missing."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise TritonMissing("Triton's wheel needs Linux x86-64; run Triton elsewhere, and `serve` here")
    # Not resolved: a python in a virtual environment finds the environment by the path of its own link.
    python = models_env.absolute() / "bin" / "python3"
    if not python.exists():
        raise TritonMissing(f"{models_env} is not a virtual environment; `make setup` creates one")
    facts = python_facts(python)
    if facts["version"] not in SUPPORTED:
        raise TritonMissing(
            f"{models_env} has Python {facts['version']}; Triton's wheel supports {SUPPORTED[0]} to "
            f"{SUPPORTED[-1]}: run `make setup` with one of these"
        )
    repair = REPAIR.format(python=python)
    if not facts["pytriton"]:
        raise TritonMissing(f"{models_env} has no Triton; {repair}")
    package = Path(facts["pytriton"])
    server, libraries = package / "tritonserver", package.parent / "nvidia_pytriton.libs"
    stub = server / "python_backend_stubs" / facts["version"] / STUB
    for part in (server / "bin" / "tritonserver", server / "backends" / "python", libraries, stub):
        if not part.exists():
            raise TritonMissing(f"{part} is missing; {repair}")
    libpython = find_libpython(facts, models_env.absolute())
    return TritonInstall(
        binary=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=stub,
        libpython=libpython,
        library_path=(libraries, libpython.parent),
        models_env=models_env.absolute(),
    )


def python_facts(python: Path) -> dict:
    """Facts about the environment's Python. Raises TritonMissing if it does not run."""
    # -I: ignore the user's settings for other Pythons.
    command = [str(python), "-I", "-c", FACTS_PROGRAM]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TritonMissing(f"{python} does not run ({error}); run `make setup`") from error
    if done.returncode != 0:
        raise TritonMissing(f"{python} does not run; run `make setup`. It says: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def find_libpython(facts: dict, models_env: Path) -> Path:
    """The shared libpython for the Python backend's stub: of the environment, or of its Python."""
    name = f"libpython{facts['version']}.so.1.0"
    folders = [Path(folder) for folder in facts["libdirs"] if folder]
    folders += [folder / facts["multiarch"] for folder in folders]
    folders += [Path("/usr/lib") / facts["multiarch"], Path("/usr/lib64"), Path("/usr/lib")]
    for folder in (models_env / "lib", *folders):
        if (folder / name).exists():
            return folder / name
    raise TritonMissing(
        f"{name}, which Triton's Python backend needs, is missing; run `make setup`, "
        f"or `apt-get install libpython{facts['version']}`"
    )


def wanted_libpython(stub: Path) -> list[str]:
    """The names of libpython in a stub: the usual one, and the one that the wheel has given it."""
    names = {name.decode() for name in LIBPYTHON.findall(stub.read_bytes())}
    if not names:
        raise TritonMissing(f"{stub} is damaged: it names no libpython; run `make setup`")
    return sorted(names)


def assemble_backends(install: TritonInstall, folder: Path) -> Path:
    """Creates a backend directory in `folder`, with the stub for the environment's Python version.

    The stub is a copy, at a depth where it looks for libraries first in `folder`. There libpython has every
    name that the stub may ask for.
    """
    backends = folder / "opt" / "triton" / "backends"
    shutil.copytree(install.python_backend, backends / "python", dirs_exist_ok=True)
    shutil.copy2(install.stub, backends / "python" / STUB)
    libraries = folder / STUB_LIBRARIES
    libraries.mkdir(exist_ok=True)
    for name in wanted_libpython(install.stub):
        link(libraries / name, install.libpython)
    return backends


def link(name: Path, target: Path) -> None:
    """Creates a symbolic link, or replaces it."""
    name.unlink(missing_ok=True)
    name.symlink_to(target.absolute())
