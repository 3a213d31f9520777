"""Runs the instructions of a Dockerfile in a bare Debian system, without a container engine.

It runs RUN, COPY, ENV, ARG and WORKDIR in order. It does not test the base images (Debian's Python replaces
python:3.11-slim, and all stages share one tree), layers, caches and the registry.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path, PurePosixPath
from typing import TextIO

from fresh.bare import BareDebian
from fresh.steps import ROOT, Result, folder_mb

PACKAGES = "ca-certificates,python3,python3-venv,python3-pip,bash"
IMAGES = ("gateway", "models")
PREPARE = (
    "ln -sf python3 /usr/bin/python; rm -f /usr/lib/python3*/EXTERNALLY-MANAGED; "
    "groupadd --gid 1000 triton 2>/dev/null; true"
)
"""What Debian lacks of the base image: `python`, and a pip that installs system-wide."""
AS_USER = "setpriv --reuid 65532 --regid 65532 --clear-groups env"
CHECKS = {
    "gateway": f"{AS_USER} PATH=$PATH clipserve-gateway --version",
    "models": "mkdir /tmp/repository && sh /bin/copy-models /tmp/repository",
}
"""Commands that must work in the finished image."""


def instructions(text: str) -> list[tuple[str, str]]:
    """Pairs of instruction and rest, without comments and with continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\s*\\\n\s*", " ", lines)
    words = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(word, rest) for word, rest in words]


def build(machine: BareDebian, name: str, log: Path, arguments: dict[str, str]) -> Result:
    """Runs one Dockerfile; `arguments` are its build arguments."""
    begin = time.monotonic()
    machine.run_as_root(PREPARE)
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    given = dict(arguments)
    folder, code = PurePosixPath("/"), 0
    with log.open("w", encoding="utf-8") as file:
        for word, rest in instructions((ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text()):
            if word == "ARG":
                key, _, default = rest.partition("=")
                given.setdefault(key, expand(default, given))
            elif word == "ENV":
                variables |= {key: expand(value, variables) for key, _, value in
                              (each.partition("=") for each in shlex.split(rest))}  # fmt: skip
            elif word == "WORKDIR":
                folder = PurePosixPath(rest)
                machine.inside(Path(folder)).mkdir(parents=True, exist_ok=True)
            elif word == "COPY" and "--from=" not in rest:
                copy(machine, folder, rest.split())
            elif word == "RUN":
                script = re.sub(r"--mount=\S+\s*", "", rest)
                code = shell(machine, folder, script, variables | given, file)
                if code:
                    break
        if not code:
            code = shell(machine, folder, CHECKS[name], variables | given, file)
    about = f"{name}.Dockerfile"
    size = folder_mb(machine.folder / "opt/clipserve") + folder_mb(machine.folder / "models")
    return Result(machine.suite, about, code, time.monotonic() - begin, 0, size, "" if not code else str(log))


def expand(text: str, variables: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], ""), text)


def copy(machine: BareDebian, folder: PurePosixPath, words: list[str]) -> None:
    *sources, target = [word for word in words if not word.startswith("--")]
    place = machine.inside(Path(folder / target))
    for source in sources:
        path = ROOT / source
        if path.is_dir():
            leave = shutil.ignore_patterns("__pycache__", "*.egg-info", "training")
            shutil.copytree(path, place, dirs_exist_ok=True, ignore=leave)
        else:
            into = place / path.name if target.endswith("/") else place
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, into)


def shell(
    machine: BareDebian, folder: PurePosixPath, script: str, variables: dict[str, str], log: TextIO
) -> int:
    """Runs a script in the tree as root; its exit code."""
    words = [f"{key}={value}" for key, value in variables.items()]
    command = ["chroot", str(machine.folder), "env", "-i", *words, "sh", "-ec", f"cd {folder} && {script}"]
    print(f"$ {script}", file=log, flush=True)
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode
