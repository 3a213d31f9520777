"""What the README shows works as it is shown."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest
from support.service import BIN, ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
ASK = next(block for block in BLOCKS if "clipserve info" in block)
SEARCH = next(block for block in BLOCKS if "clipserve dedupe" in block)


def test_the_python_example_runs(live, tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = code.replace("localhost:8600", live.address)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cat ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A place to write to, with the pictures that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "demo").symlink_to(ROOT / "demo")
    return folder


def test_the_shell_example_runs_line_by_line(live, folder):
    commands = [line for line in (ASK + SEARCH).splitlines() if line.startswith("clipserve ")]
    assert len(commands) >= 13
    for line in commands:
        words = shlex.split(line, comments=True)
        if "migrate" in words:
            continue  # there is no model `large` here
        done = subprocess.run(
            [BIN / words[0], *words[1:]],
            cwd=folder,
            env=os.environ | {"CLIPSERVE_TARGET": live.address},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (folder / "hits.html").stat().st_size > 10_000
    assert (folder / "cat.npy").exists()
