"""The lock files: whole, hashed, of the pinned versions, and without a word of where they came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bootstrap.lock import LOCKS, blocks, kept, path_of

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_file_of_what_runs_is_pinned_by_its_hash(lock):
    pinned = pins(ROOT / "constraints" / f"{lock.constraints}.txt")
    packages = list(blocks((ROOT / path_of(lock.name)).read_text()))
    assert packages
    for block in packages:
        requirement, *hashes = block.split("\\\n")
        assert hashes, block
        assert all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", it) for it in hashes), block
        assert "//" not in block
        name, version = requirement.split(";")[0].strip().split("==")
        assert version in pinned[canonical(name)], requirement
    names = {canonical(block.partition("==")[0]) for block in packages}
    assert not names & {"torch", "torchvision"}
    direct = {canonical(re.split(r"[^\w.-]", wanted)[0]) for extra in lock.extras for wanted in EXTRAS[extra]}
    assert direct - {"torch", "torchvision"} <= names


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path):
    """Name → the versions that a constraints file has."""
    versions = {}
    for line in path.read_text().splitlines():
        if "==" in line:
            name, _, version = line.split(";")[0].strip().partition("==")
            versions.setdefault(canonical(name), set()).add(version)
    return versions


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ("click==8.5.1", True),
        ("nvidia-pytriton==0.7.0", True),
        ("tritonclient==2.73.0", True),
        ("anyio==4.16.0 ; sys_platform != 'emscripten'", True),
        ("torch==2.13.0", False),
        ("triton==3.7.1 ; sys_platform == 'linux'", False),
        ("nvidia-cublas==13.1.1.3 ; sys_platform == 'linux'", False),
        ("colorama==0.4.6 ; sys_platform == 'win32'", False),
    ],
)
def test_torch_and_other_systems_are_left_out(block, wanted):
    assert kept(block) is wanted
