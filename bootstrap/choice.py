"""Chooses the interpreter of each environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bootstrap import libpython
from bootstrap.pythons import GATEWAY, MODELS, Python, candidates


@dataclass(frozen=True)
class Choice:
    """The interpreters for the environments; None if there is no suitable one."""

    gateway: Python | None
    models: Python | None


def choose(environments: Mapping[str, Python | None], *, chosen: Sequence[str]) -> Choice:
    """An interpreter for each environment: that of the existing environment, else the best one found.

    Args:
        environments: `gateway` and `models`, each with the interpreter it was made with.
        chosen: interpreters to prefer, if they are suitable.
    """
    gateway = environments.get("gateway") or best(candidates(GATEWAY, chosen), with_library=False)
    models = environments.get("models") or best(candidates(MODELS, chosen), with_library=True)
    return Choice(gateway, models)


def best(pythons: Iterable[Python], *, with_library: bool) -> Python | None:
    """The first suitable interpreter; else the one that lacks least, so that a message can name the lack."""
    seen = []
    for python in pythons:
        if python.has_venv and (not with_library or libpython.find(python)):
            return python
        seen.append(python)
    fetchable = [python for python in seen if python.has_venv and libpython.can_fetch(python)]
    usable = [python for python in seen if python.has_venv]
    return next(iter([*fetchable, *usable, *seen]), None)
