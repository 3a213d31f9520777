"""The commands of the set-up, run as the Makefile runs them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project's folder that has only the set-up in it."""
    shutil.copytree(ROOT / "bootstrap", tmp_path / "bootstrap", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "constraints", tmp_path / "constraints")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def run(root: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin"} | variables
    command = [sys.executable, "-E", "-s", "-m", "bootstrap", *words]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_the_doctor_shows_the_machine_at_once(copy):
    begin = time.monotonic()
    done = run(copy, "doctor")
    assert time.monotonic() - begin < 5
    for row in ("system", "processor", "memory", "disk", "python (models)", "libpython", "card", "ports"):
        assert row in done.stdout
    assert ".venv: not made yet" in done.stdout


def test_it_speaks_where_the_locale_is_plain(copy):
    assert run(copy, "doctor", LC_ALL="C").stdout.strip()
    assert run(copy, "doctor", PYTHONIOENCODING="ascii").stdout.strip()


def test_it_imports_the_standard_library_only():
    script = (
        "import sys; before = set(sys.modules); import bootstrap.cli; "
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}; "
        "print(*names - set(sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {"bootstrap"}


@pytest.mark.slow
def test_a_machine_that_cannot_reach_the_index_says_so_and_keeps_its_state(copy, tmp_path):
    done = run(
        copy, "install", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0", PIP_NO_INDEX="0",
        TORCH_INDEX="", PIP_CONFIG_FILE="/dev/null",
    )  # fmt: skip
    assert done.returncode == 1
    assert "the package index cannot be reached" in done.stderr
    assert "the next run continues from here" in done.stderr


def test_two_set_ups_in_one_folder_wait_for_each_other(copy):
    import fcntl

    (copy / "build" / "setup").mkdir(parents=True)
    with (copy / "build" / "setup" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-E", "-s", "-m", "bootstrap", "install"]
        process = subprocess.Popen(command, cwd=copy, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert "another set-up is running in this folder" in process.stderr.readline()
        process.kill()
        process.wait()
        process.stderr.close()
