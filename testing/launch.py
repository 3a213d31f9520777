"""Starts programs that the kernel ends with the process that started them: nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from clipserve_gateway.local.die_with_parent import die_with_parent


def launch(
    command: Sequence[object],
    *,
    log: Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Starts a program, whose output is appended to `log`. It ends when the calling thread does.

    Args:
        env: on top of this process's own.
    """
    words = [*die_with_parent(signal.SIGKILL), *map(str, command)]
    with log.open("ab") as file:
        return subprocess.Popen(
            words, cwd=cwd, env=os.environ | dict(env or {}), stdin=stdin, stdout=file, stderr=file
        )
