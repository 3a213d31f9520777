"""A killed process loses no acknowledged write, and torn files never become wrong data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROMISES = 8


@pytest.mark.slow
def test_acknowledged_operations_survive_kills_and_torn_disks():
    """The torture bench with two kills; `make torture` runs it with fifty."""
    command = [sys.executable, "-m", "bench.torture", "--points", "2", "--seconds", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("pass  ") == PROMISES
