"""Runs the README's commands in a bare system and measures them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from fresh.bare import HOME, USER, BareDebian

ROOT = Path(__file__).resolve().parent.parent
MB = 1_000_000
MENTION = 80
"""Maximum characters of a line about something missing."""
COMMANDS = ("make demo", "make demo", "make doctor", "make test")
"""Commands of the README; the second `make demo` must start within seconds."""


@dataclass(frozen=True)
class Result:
    """The outcome and costs of one command."""

    suite: str
    command: str
    code: int
    seconds: float
    downloaded_mb: int
    """Since the clone."""
    disk_mb: int
    """Size of the clone's folder with everything installed in it."""
    missing: str
    """Missing parts in the preflight, or skipped tests."""

    @property
    def good(self) -> bool:
        return self.code == 0


def clone(machine: BareDebian, target: Path = HOME / "clipserve") -> Path:
    """Clones this checkout into the bare system for its user; the path there."""
    inside = machine.inside(target)
    inside.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, inside], check=True)
    machine.run_as_root(f"chown -R {USER} {shlex.quote(str(target))}")
    return target


def attempt(machine: BareDebian, checkout: Path, command: str, log: Path) -> Result:
    begin = time.monotonic()
    start = log.stat().st_size if log.exists() else 0
    code = machine.run(f"cd {shlex.quote(str(checkout))} && {command}", log)
    words = log.read_bytes()[start:].decode(errors="replace")
    return Result(
        machine.suite, command, code, time.monotonic() - begin, downloaded_mb(machine.inside(checkout)),
        folder_mb(machine.inside(checkout)), missing(words),
    )  # fmt: skip


def downloaded_mb(checkout: Path) -> int:
    """MB that the set-up has downloaded, by its own count."""
    states = [json.loads(path.read_text()) for path in checkout.glob(".venv*/.clipserve.json")]
    return sum(size for state in states for size, _ in state["sizes"].values()) // MB


def folder_mb(folder: Path) -> int:
    done = subprocess.run(["du", "-s", "-B", str(MB), folder], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) if done.stdout else 0


def missing(words: str) -> str:
    """The lines of a command's output about missing parts."""
    lines = re.findall(r"^\s*(?:[✗!] .*|\d+ skipped: .*)$", words, re.MULTILINE)
    totals = re.findall(r"^\d+ passed, \d+ failed, \d+ skipped$", words, re.MULTILINE)
    return "; ".join([*totals, *(" ".join(line.split())[:MENTION] for line in lines)])
