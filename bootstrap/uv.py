"""Downloads a Python with uv, without root, if the system has no suitable one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from bootstrap.pip import clean_environment
from bootstrap.pythons import Python, probe

VERSION = "3.12"
"""Version of the downloaded Python."""
DOWNLOAD_MB = 60
"""Size of uv and the Python."""
FOLDER = ".python"
"""Its folder, in the project's folder."""


class NoPython(Exception):
    """uv cannot download a Python; the message tells why and what to do."""


def downloaded_python(root: Path) -> str:
    """The interpreter that an earlier set-up downloaded; empty if there is none."""
    interpreters = sorted((root / FOLDER).glob(f"cpython-{VERSION}*/bin/python{VERSION}"))
    return str(interpreters[-1]) if interpreters else ""


def download_python(root: Path, installer: Python) -> Python:
    """Downloads a Python into the project's folder with uv.

    Args:
        installer: the interpreter that installs uv, if PATH has none.
    """
    uv = shutil.which("uv") or install_uv(root / "build" / "setup" / "uv", installer)
    done = run([uv, "python", "install", VERSION], UV_PYTHON_INSTALL_DIR=str(root / FOLDER))
    python = probe(downloaded_python(root)) if done.returncode == 0 and downloaded_python(root) else None
    if python is None:
        raise NoPython(f"uv cannot download Python {VERSION}: {last_line(done)}. {by_hand()}")
    return python


def install_uv(folder: Path, python: Python) -> str:
    """Installs uv into its own small environment; the path of uv."""
    steps = ([python.path, "-E", "-s", "-m", "venv", str(folder)],
             [str(folder / "bin" / "python"), "-m", "pip", "install", "uv"])  # fmt: skip
    for step in steps:
        done = run(step)
        if done.returncode:
            raise NoPython(f"uv cannot be installed: {last_line(done)}. {by_hand()}")
    return str(folder / "bin" / "uv")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of a program's errors, else of its output."""
    return ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1].strip()


def by_hand() -> str:
    return "Install Python 3.11, 3.12 or 3.13 yourself, so that PATH has for example `python3.13`"


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program. If it cannot be started, the result has exit code 127."""
    environment = clean_environment(os.environ) | variables
    try:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
