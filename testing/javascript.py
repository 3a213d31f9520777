"""Packages of JavaScript for tests, as tests/javascript/package-lock.json pins them."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests" / "javascript"
FILES = ("package.json", "package-lock.json", ".npmrc")
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
OLDEST = 20
"""Oldest version of Node.js that the packages run on."""


def packages() -> Path:
    """The folder `node_modules` with the packages; installs them on first use. Skips the test without npm."""
    if why := problem():
        pytest.skip(why)
    folder = ROOT / "build" / "javascript"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        install(folder)
    return folder / "node_modules"


@functools.cache
def problem() -> str:
    """Why the packages cannot be used on this machine; empty if they can."""
    if not (shutil.which("node") and shutil.which("npm")):
        return f"no Node.js with npm; install version {OLDEST} or newer for the tests in JavaScript"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < OLDEST:
        return f"Node.js {version} is too old; the tests in JavaScript need {OLDEST} or newer"
    return ""


def install(folder: Path) -> None:
    """Installs the packages, unless this has been done for the same files."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES)).hexdigest()
    ready = folder / ".ready"
    if ready.exists() and ready.read_text() == digest:
        return
    ready.unlink(missing_ok=True)
    for name in FILES:
        shutil.copy(SOURCE / name, folder)
    done = subprocess.run(INSTALL, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ready.write_text(digest)
