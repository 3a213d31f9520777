"""Installs Debian's Chromium for the browser tests. Only root can install packages of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Programs that the tests can drive, in order of preference."""
PACKAGE = "chromium"
WITHOUT = "the browser tests of `make test` are skipped without one"
OPTIONS = ("-qq", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120")
COMMANDS = (
    ("apt-get", *OPTIONS, "update"),
    ("apt-get", *OPTIONS, "install", "-y", "--no-install-recommends", PACKAGE),
)


class NoBrowser(Exception):
    """Chromium cannot be installed; the message tells why and what to do."""


def find_browser() -> str:
    """Path of a Chromium on PATH; empty if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), "")


def install_browser() -> str:
    """Installs Chromium unless there is one; returns its path. Raises NoBrowser."""
    if path := find_browser():
        return path
    if not shutil.which("apt-get"):
        raise NoBrowser(f"no apt-get here: install Chromium so that `{PACKAGE}` is on PATH; {WITHOUT}")
    if os.geteuid() != 0:
        raise NoBrowser(f"Debian's Chromium is installed by root: run `sudo make browser`; {WITHOUT}")
    print("· Chromium, from Debian's packages (about 115 MB to fetch)", file=sys.stderr, flush=True)
    for command in COMMANDS:
        done = subprocess.run(
            command, env=os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoBrowser(f"`{' '.join(command)}` failed: {last_error(done.stderr)}")
    if path := find_browser():
        return path
    raise NoBrowser(f"the package {PACKAGE} brings no program {' or '.join(NAMES)}; {WITHOUT}")


def last_error(output: str) -> str:
    """The last error in apt-get's output, in one line."""
    lines = output.strip().splitlines()
    errors = [line[3:] for line in lines if line.startswith("E: ")]
    return (errors or lines or ["no output"])[-1]
