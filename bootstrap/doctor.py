"""The tables of `make doctor` and of the set-up."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bootstrap import state
from bootstrap.preflight import Check

WIDTH = 100
"""Columns of the list of packages."""
MARKS = {"ok": "✓", "note": "!", "missing": "✗"}
LIST = """
import importlib.metadata, json, sys
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
"""


def show_checks(checks: Sequence[Check], file: TextIO | None = None) -> bool:
    """Prints the checks and how to install what is missing; whether nothing is missing."""
    file = file or sys.stdout
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"  {MARKS[check.status]} {check.name:<{width}}  {check.text}", file=file)
    missing = [check for check in checks if check.status == "missing"]
    for check in missing:
        print(f"✗ {check.name}: {check.remedy}", file=file)
    file.flush()
    return not missing


def packages(environment: Path) -> list[str]:
    """Lines with an environment's Python and the version of each package."""
    python = environment / "bin" / "python"
    if not python.exists():
        return [f"{environment.name}: not made yet"]
    try:
        done = subprocess.run([python, "-I", "-c", LIST], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [f"{environment.name}: its Python does not run"]
    versions = json.loads(done.stdout)
    known = state.load(environment)
    head = f"{environment.name}: Python {known.python or 'unknown'}, {len(versions)} packages"
    listed = ", ".join(f"{name} {versions[name]}" for name in sorted(versions, key=str.lower))
    lines = textwrap.wrap(listed, WIDTH, break_on_hyphens=False)
    return [head, *(f"  {line}" for line in lines)]
