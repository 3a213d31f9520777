"""Starts programs that the kernel ends with the process that started them: nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

DIE_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
libraries, *command = sys.argv[1:]
if libraries:
    os.environ["LD_LIBRARY_PATH"] = libraries
os.execv(command[0], command)
"""
"""Becomes the program it is given. Code between fork and exec would do the same, but not beside threads."""


def launch(
    command: Sequence[object],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    libraries: str = "",
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts a program, whose output is appended to `log`. It ends when the calling thread does.

    Args:
        env: on top of this process's own.
        libraries: LD_LIBRARY_PATH of the program; the launcher must not load them.
    """
    launcher = [sys.executable, "-c", DIE_WITH_PARENT, libraries, *map(str, command)]
    with log.open("ab") as file:
        return subprocess.Popen(
            launcher, cwd=cwd, env=os.environ | dict(env or {}), stdin=stdin, stdout=file, stderr=file
        )
