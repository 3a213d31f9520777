"""The tables of `make doctor` and of the set-up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bootstrap import state
from bootstrap.preflight import Check

MARKS = {"ok": "✓", "note": "!", "missing": "✗"}
SHOWN = (
    "clipserve", "grpcio", "protobuf", "numpy", "pillow", "tokenizers", "lancedb", "pylance", "pyarrow",
    "pymilvus", "tritonclient", "torch", "torchvision", "open_clip_torch", "timm", "nvidia-pytriton",
)  # fmt: skip
"""Packages whose versions are worth a look when something fails."""

LIST = """
import importlib.metadata, json, sys
print(json.dumps({it.metadata["Name"]: it.version for it in importlib.metadata.distributions()}))
"""


def show_checks(checks: Sequence[Check], file: TextIO | None = None) -> bool:
    """Prints the table, and what to do about what is missing; whether nothing is."""
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
    """One line for an environment, and one with the versions of what matters in it."""
    python = environment / "bin" / "python"
    if not python.exists():
        return [f"{environment.name}: not made yet"]
    done = subprocess.run([python, "-I", "-c", LIST], capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"{environment.name}: its Python does not run"]
    versions = {name.lower().replace("_", "-"): version for name, version in json.loads(done.stdout).items()}
    known = state.load(environment)
    head = f"{environment.name}: Python {known.python or 'unknown'}, {len(versions)} packages"
    names = [name for name in SHOWN if name.lower().replace("_", "-") in versions]
    shown = ", ".join(f"{name} {versions[name.lower().replace('_', '-')]}" for name in names)
    return [head, f"  {shown}"] if shown else [head]
