"""Finds a runnable Triton in a virtual environment that has nvidia-pytriton."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

STUB = "triton_python_backend_stub"

PROBE = """
import json, sys, sysconfig
try:
    import pytriton
except ImportError:
    pytriton = None
print(json.dumps({
    "pytriton": pytriton and list(pytriton.__path__)[0],
    "version": "%d.%d" % sys.version_info[:2],
    "libpython": sysconfig.get_config_var("INSTSONAME"),
    "libdirs": [sysconfig.get_config_var(name) or "" for name in ("LIBDIR", "LDLIBRARYDIR")],
    "multiarch": sysconfig.get_config_var("MULTIARCH") or "",
}))
"""


class TritonMissing(Exception):
    """This machine cannot run Triton; the message says what to install."""


@dataclass(frozen=True)
class TritonInstall:
    """Where the parts of a runnable Triton are."""

    binary: Path
    python_backend: Path
    stub: Path
    library_path: tuple[Path, ...]
    models_env: Path


def find_install(models_env: Path) -> TritonInstall:
    """The Triton that nvidia-pytriton put into `models_env`; TritonMissing if a part is not there."""
    # Not resolved: a virtual environment's python is a link that knows its environment by its own path.
    python = models_env.absolute() / "bin" / "python3"
    if not python.exists():
        raise TritonMissing(f"{models_env} is no virtual environment; `make setup` makes one")
    probe = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, check=False, timeout=60)
    if probe.returncode != 0:
        raise TritonMissing(f"{python} does not run: {probe.stderr.strip()[-300:]}")
    facts = json.loads(probe.stdout)
    if not facts["pytriton"]:
        raise TritonMissing(f"{models_env} has no Triton; run `{python} -m pip install 'clipserve[triton]'`")
    package = Path(facts["pytriton"])
    server = package / "tritonserver"
    libraries = package.parent / "nvidia_pytriton.libs"
    stub = server / "python_backend_stubs" / facts["version"] / STUB
    for part in (server / "bin" / "tritonserver", server / "backends" / "python", libraries, stub):
        if not part.exists():
            raise TritonMissing(f"{part} is missing: use Linux x86-64 and Python 3.10 to 3.12, and reinstall")
    libpython = find_libpython(facts)
    return TritonInstall(
        binary=server / "bin" / "tritonserver",
        python_backend=server / "backends" / "python",
        stub=stub,
        library_path=(libraries, libpython.parent),
        models_env=models_env.absolute(),
    )


def find_libpython(facts: dict) -> Path:
    """The shared libpython that the Python backend's stub links to."""
    name = f"libpython{facts['version']}.so.1.0"
    folders = [Path(folder) for folder in facts["libdirs"] if folder]
    folders += [folder / facts["multiarch"] for folder in folders]
    folders += [Path("/usr/lib") / facts["multiarch"], Path("/usr/lib64"), Path("/usr/lib")]
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    raise TritonMissing(
        f"{name} is missing, which Triton's Python backend needs: "
        f"run `apt-get install libpython{facts['version']}`"
    )


def assemble_backends(install: TritonInstall, folder: Path) -> Path:
    """A backend directory in `folder`, with the stub of the environment's own Python version."""
    backends = folder / "backends"
    shutil.copytree(install.python_backend, backends / "python", dirs_exist_ok=True)
    shutil.copy2(install.stub, backends / "python" / STUB)
    return backends
