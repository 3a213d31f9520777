"""Chromium for the browser tests: used if it is there, installed by root, and otherwise a clear sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The folder of all programs of a machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def make_browser(system: Path, *, user: int = 0) -> subprocess.CompletedProcess[str]:
    """The command `browser` on this machine, as root or as another user."""
    script = f"import os; os.geteuid = lambda: {user}; import bootstrap.cli; bootstrap.cli.main()"
    return subprocess.run(
        [sys.executable, "-E", "-s", "-c", script, "browser"],
        cwd=ROOT, env={"PATH": os.fspath(system), "PYTHONPATH": os.fspath(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_browser_that_is_there_is_used(system):
    program(system, "chromium", "")
    program(system, "apt-get", "exit 1")
    done = make_browser(system, user=1000)
    assert (done.returncode, done.stdout) == (0, f"✓ {system}/chromium\n")


def test_root_installs_it_from_debians_packages(system, tmp_path):
    log = tmp_path / "log"
    made = f"/bin/cp {system}/apt-get {system}/chromium"
    program(system, "apt-get", f'echo "$DEBIAN_FRONTEND: $*" >> {log}\ncase "$*" in *install*) {made};; esac')
    done = make_browser(system)
    assert (done.returncode, done.stdout) == (0, f"✓ {system}/chromium\n")
    update, install = log.read_text().splitlines()
    assert update.endswith(" update")
    assert install.startswith("noninteractive: ")
    assert install.endswith(" install -y --no-install-recommends chromium")


def test_others_are_told_to_ask_root(system):
    program(system, "apt-get", "exit 0")
    done = make_browser(system, user=1000)
    assert done.returncode == 1
    assert "sudo make browser" in done.stderr


def test_a_system_without_apt_is_told_what_to_install(system):
    done = make_browser(system)
    assert done.returncode == 1
    assert "install Chromium so that `chromium` is on PATH" in done.stderr


def test_the_reason_of_apt_is_told(system):
    program(system, "apt-get", 'echo "W: old lists" >&2; echo "E: Unable to locate package" >&2; exit 100')
    done = make_browser(system)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(" update` failed: Unable to locate package")


def test_a_package_without_the_program_is_reported(system):
    program(system, "apt-get", "exit 0")
    done = make_browser(system)
    assert done.returncode == 1
    assert "brings no program" in done.stderr
