"""Checks the machine before anything is downloaded."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bootstrap import libpython, uv
from bootstrap.advice import install_line
from bootstrap.choice import Choice
from bootstrap.machine import Machine
from bootstrap.pythons import GATEWAY, MODELS, Python, Range
from bootstrap.stages import Stage, total
from bootstrap.torch_index import problem, wanted_index

Status = Literal["ok", "note", "missing"]

MIN_GLIBC = (2, 35)
"""Oldest glibc that Triton's wheel runs on."""
MIN_MEMORY_MB = 1800
GOOD_MEMORY_MB = 3000
"""Memory that the demo needs at least, and recommended memory."""
SPARE_DISK_MB = 300
"""Disk space for exported models, the demo's collection and logs."""
PORTS = (8600, 8601, 8602, 8700, 8701, 8702)
"""Ports of `make serve`; `make demo` uses free ones."""
CONTAINERS = "use containers there: `docker compose -f deploy/compose.yaml up --build` (deploy/README.md)"


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    name: str
    status: Status
    text: str
    remedy: str = ""
    """What to do, in one line."""


def check_all(
    machine: Machine,
    choice: Choice,
    root: Path,
    device: str,
    missing: Sequence[Stage],
    environments: Sequence[Path],
    foreign: Sequence[Path] = (),
) -> list[Check]:
    """Every check, in the order of the table.

    Args:
        device: `cpu` or `cuda`: the build of torch.
        missing: the stages that are not installed.
        environments: those that exist already.
        foreign: files and folders with an environment's name that this set-up did not make.
    """
    return [
        check_system(machine),
        check_processor(machine),
        check_memory(machine),
        check_disk(machine, root, total(missing)[1]),
        check_folder(machine, root),
        *(check_foreign(path) for path in foreign),
        check_python("gateway", choice.gateway, GATEWAY, machine, choice.models),
        check_python("models", choice.models, MODELS, machine, choice.gateway),
        check_libpython(choice.models, machine, environments),
        check_bash(machine),
        Check("card", "ok", machine.card or "no NVIDIA driver: the models run on the processor"),
        check_ports(PORTS),
        *(check_torch(device, stage.about, os.environ) for stage in missing if stage.name == "torch"),
    ]


def check_system(machine: Machine) -> Check:
    """Linux on x86-64 with a new enough glibc, which Triton's wheel needs."""
    glibc = "another C library" if machine.glibc is None else "glibc {}.{}".format(*machine.glibc)
    text = f"{machine.distribution}, {machine.architecture}, {glibc}"
    if machine.system != "Linux":
        return Check(
            "system", "missing", text, f"Triton runs on Linux only; {CONTAINERS}, or WSL 2 on Windows"
        )
    if machine.architecture != "x86_64":
        return Check("system", "missing", text, f"Triton's wheel is for x86-64 processors only; {CONTAINERS}")
    if machine.glibc is None or machine.glibc < MIN_GLIBC:
        need = "{}.{}".format(*MIN_GLIBC)
        return Check("system", "missing", text, f"Triton's wheel needs glibc {need} or newer; {CONTAINERS}")
    return Check("system", "ok", text)


def check_processor(machine: Machine) -> Check:
    """AVX2, which LanceDB's library and oneDNN's fast paths need."""
    text = f"{machine.processor}, {machine.cores} core{'s' if machine.cores != 1 else ''}"
    if machine.features and "avx2" not in machine.features:
        remedy = "LanceDB's library needs AVX2: use a processor with AVX2, or enable it in the VM"
        return Check("processor", "missing", f"{text}, no AVX2", remedy)
    return Check("processor", "ok", text + (", AVX2" if machine.features else ""))


def check_memory(machine: Machine) -> Check:
    text = f"{machine.memory_mb / 1000:.1f} GB free"
    if machine.memory_mb < MIN_MEMORY_MB:
        return Check(
            "memory", "missing", text, f"{MIN_MEMORY_MB / 1000:.1f} GB are needed: stop other programs"
        )
    if machine.memory_mb < GOOD_MEMORY_MB:
        return Check("memory", "note", f"{text}; {GOOD_MEMORY_MB / 1000:.0f} GB are better")
    return Check("memory", "ok", text)


def check_disk(machine: Machine, root: Path, disk_mb: int) -> Check:
    text = f"{machine.disk_mb / 1000:.1f} GB free in {root}"
    needed = disk_mb + SPARE_DISK_MB if disk_mb else 0
    if machine.disk_mb < needed:
        return Check(
            "disk", "missing", text, f"{needed / 1000:.1f} GB are needed: free disk space, or clone elsewhere"
        )
    return Check("disk", "ok", text)


def check_folder(machine: Machine, root: Path) -> Check:
    """A writable folder that allows programs, with a path that virtual environments support."""
    if not is_utf8(str(root)):
        return Check(
            "folder", "missing", ascii(str(root)), "the path is not UTF-8: clone into another folder"
        )
    # `venv` does not support the first character, setuptools the second.
    for character in (os.pathsep, "$"):
        if character in str(root):
            remedy = f"virtual environments do not support {character!r} in a path: clone into another folder"
            return Check("folder", "missing", str(root), remedy)
    if not os.access(root, os.W_OK):
        return Check("folder", "missing", f"{root} cannot be written", "clone as this user")
    if machine.noexec:
        return Check(
            "folder", "missing", f"{root} is mounted noexec", "clone into a folder that allows programs"
        )
    return Check("folder", "ok", f"{root} can be written")


def check_foreign(path: Path) -> Check:
    """Something that has an environment's name is left alone."""
    return Check(path.name, "missing", f"{path} was not made by this set-up", "move or remove it")


def is_utf8(text: str) -> bool:
    """Whether a path can be written as UTF-8, as files of an environment must."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_python(
    name: str, python: Python | None, wanted: Range, machine: Machine, other: Python | None
) -> Check:
    """An interpreter for an environment, with its venv module. `other` is that of the other environment."""
    versions = "{}.{} to {}.{}".format(*wanted[0], *wanted[1])
    row = f"python ({name})"
    if python is None and other is not None:
        return Check(
            row, "note", f"no Python {versions} found: uv downloads {uv.VERSION} ({uv.DOWNLOAD_MB} MB)"
        )
    if python is None:
        remedy = install_line(machine.family, "python")
        return Check(row, "missing", f"no Python {versions} on PATH", remedy)
    if not python.has_venv:
        remedy = install_line(machine.family, "venv", python.minor)
        return Check(row, "missing", f"{python.words} has no venv module", remedy)
    return Check(row, "ok", python.words)


def check_libpython(python: Python | None, machine: Machine, environments: Sequence[Path]) -> Check:
    """The shared library that Triton's Python backend loads."""
    if python is None:
        return Check("libpython", "note", "comes with the Python for the models")
    name = libpython.library_name(python)
    placed = [each / "lib" / name for each in environments if (each / "lib" / name).exists()]
    library = placed[0] if placed else libpython.find(python)
    if library:
        return Check("libpython", "ok", str(library))
    if libpython.can_fetch(python):
        return Check("libpython", "note", f"{name} is not installed; it will be downloaded, without root")
    remedy = install_line(machine.family, "libpython", python.minor)
    return Check("libpython", "missing", f"{name} of {python.words} is missing", remedy)


def check_bash(machine: Machine) -> Check:
    """Triton's Python backend starts its processes through bash."""
    path = shutil.which("bash")
    if path:
        return Check("bash", "ok", path)
    return Check("bash", "missing", "no bash on PATH", install_line(machine.family, "bash"))


def check_torch(device: str, build: str, environ: Mapping[str, str]) -> Check:
    """The index for torch. A build with CUDA is a download of 2.4 GB more."""
    index = wanted_index(device, environ)
    if not index:
        return Check("torch", "ok", f"{build}, from pip's default index")
    if why := problem(index):
        text = f"{index} cannot be used ({why}): pip's default index is used, perhaps with CUDA"
        return Check("torch", "note", f"{text} (2.4 GB more); TORCH_INDEX names another index or a folder")
    return Check("torch", "ok", f"{build}, from {index}")


def check_ports(ports: Iterable[int]) -> Check:
    taken = [port for port in ports if not is_free(port)]
    if not taken:
        return Check("ports", "ok", f"{', '.join(map(str, ports))} are free")
    listed = ", ".join(map(str, taken))
    text = f"{listed} taken: `make demo` uses others; for `make serve`, free them or choose others with ARGS"
    return Check("ports", "note", f"{text}='--port 0 --http-port 0 --api-port 0 …'")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
