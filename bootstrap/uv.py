"""Brings a Python for the models where the system has none that fits: uv downloads one, without root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bootstrap.pip import clean_environment
from bootstrap.pythons import Python, probe

VERSION = "3.12"
"""Of the Python that is brought."""
DOWNLOAD_MB = 60
"""uv itself, and the Python."""
FOLDER = ".python"
"""Where it is kept, in the project's folder."""


class NoPython(Exception):
    """uv cannot bring a Python; the message says why and what to do."""


def brought(root: Path) -> str:
    """The interpreter that an earlier set-up brought; empty if none did."""
    interpreters = sorted((root / FOLDER).glob(f"cpython-{VERSION}*/bin/python{VERSION}"))
    return str(interpreters[-1]) if interpreters else ""


def bring(root: Path, gateway: Python) -> Python:
    """Has uv download a Python into the project's folder.

    Args:
        gateway: the interpreter that installs uv, if PATH has none.
    """
    uv = shutil.which("uv") or install_uv(root / "build" / "setup" / "uv", gateway)
    done = run([uv, "python", "install", VERSION], UV_PYTHON_INSTALL_DIR=str(root / FOLDER))
    python = probe(brought(root)) if done.returncode == 0 and brought(root) else None
    if python is None:
        raise NoPython(f"uv cannot download Python {VERSION}: {last_words(done)}. {by_hand()}")
    return python


def install_uv(folder: Path, python: Python) -> str:
    """Installs uv into a small environment of its own; its path."""
    steps = ([python.path, "-E", "-s", "-m", "venv", str(folder)],
             [str(folder / "bin" / "python"), "-m", "pip", "install", "uv"])  # fmt: skip
    for step in steps:
        done = run(step)
        if done.returncode:
            raise NoPython(f"uv cannot be installed: {last_words(done)}. {by_hand()}")
    return str(folder / "bin" / "uv")


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program printed, of its errors if it printed any."""
    return ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1].strip()


def by_hand() -> str:
    """What a person can do instead."""
    return "Install Python 3.10, 3.11, 3.12 or 3.13 yourself, so that PATH has it, for example `python3.13`"


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of the set-up; a failure to run looks like a failure of the program."""
    environment = clean_environment(os.environ) | variables
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
