"""Chooses the interpreter of each environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bootstrap import libpython
from bootstrap.pythons import GATEWAY, MODELS, Python, candidates, install_with_uv


@dataclass(frozen=True)
class Choice:
    """The interpreters that make the environments; None where none fits."""

    gateway: Python | None
    models: Python | None


def choose(environments: Mapping[str, Python | None], *, chosen: str, may_install: bool) -> Choice:
    """An interpreter for each environment: that of an existing one, else the best that can be found.

    Args:
        environments: `gateway` and `models`, each with the interpreter it was made with.
        chosen: the interpreter that comes first, if it fits.
        may_install: `uv` may download one if none fits.
    """
    gateway = environments.get("gateway") or best(candidates(GATEWAY, chosen), with_library=False)
    models = environments.get("models") or best(candidates(MODELS, chosen), with_library=True)
    if models is None and may_install and install_with_uv("3.12"):
        models = best(candidates(MODELS, chosen), with_library=True)
    return Choice(gateway, models)


def best(pythons: Iterable[Python], *, with_library: bool) -> Python | None:
    """The first that has all it needs; else the first that nearly does, so that its lack can be named."""
    seen = []
    for python in pythons:
        if python.has_venv and (not with_library or libpython.find(python)):
            return python
        seen.append(python)
    fetchable = [python for python in seen if python.has_venv and libpython.can_fetch(python)]
    usable = [python for python in seen if python.has_venv]
    return next(iter([*fetchable, *usable, *seen]), None)
