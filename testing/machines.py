"""Machines and interpreters for tests of the set-up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bootstrap.machine import Machine
from bootstrap.pythons import Python

DEBIAN = Machine(
    system="Linux",
    architecture="x86_64",
    distribution="Debian GNU/Linux 12 (bookworm)",
    family="debian",
    glibc=(2, 36),
    processor="A processor",
    cores=2,
    features=frozenset({"avx2", "fma"}),
    memory_mb=8000,
    disk_mb=50_000,
    noexec=False,
    card="",
)
PYTHON = Python("/usr/bin/python3.11", (3, 11, 2), True, "/usr", ("/usr/lib",), "x86_64-linux-gnu")


def machine(**changes: Any) -> Machine:
    """A good machine, with changes."""
    return replace(DEBIAN, **changes)


def python(**changes: Any) -> Python:
    """Debian 12's Python, with changes."""
    return replace(PYTHON, **changes)
