"""Programs that tests need and that a machine may lack.

Without them a test is skipped and says why. In CI it fails: there a skipped test would not be noticed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from bootstrap.kubectl import MIN_VERSION, kubectl_version

KUBECTL_REMEDY = (
    f"run `make setup`, or install version {MIN_VERSION[0]}.{MIN_VERSION[1]} or newer "
    "as https://kubernetes.io/docs/tasks/tools/ describes"
)


def in_ci(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the variable CI is set, and not to `false` or `0`."""
    return environ.get("CI", "").strip().lower() not in ("", "false", "0")


def find(tool: str) -> str | None:
    """A program's path: beside this Python, where the set-up puts tools, or else on PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(tool, path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))


def need(tool: str, remedy: str) -> str:
    """A program's path; without it the test is skipped, and fails in CI.

    Args:
        tool: the program's name.
        remedy: what a person does to get it, as the end of a sentence.
    """
    found = find(tool)
    if found is None:
        missing(f"{tool} is missing: {remedy}")
    return found


def need_kubectl() -> str:
    """kubectl's path; an older version than the manifests are written for counts as missing."""
    found = need("kubectl", KUBECTL_REMEDY)
    version = kubectl_version(Path(found))
    if version is None:
        missing(f"{found} does not say its version: {KUBECTL_REMEDY}")
    if version < MIN_VERSION:
        missing(f"kubectl {version[0]}.{version[1]} is too old: {KUBECTL_REMEDY}")
    return found


def missing(sentence: str) -> NoReturn:
    """Skips the test; fails it in CI."""
    if in_ci():
        pytest.fail(f"{sentence}. In CI no test is skipped because a tool is missing.", pytrace=False)
    pytest.skip(sentence)
