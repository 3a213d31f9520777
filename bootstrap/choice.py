"""Chooses the interpreter of each environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bootstrap import libpython
from bootstrap.pythons import GATEWAY, MODELS, Python, candidates


@dataclass(frozen=True)
class Choice:
    """The interpreters that make the environments; None where none fits."""

    gateway: Python | None
    models: Python | None


def choose(environments: Mapping[str, Python | None], *, chosen: Sequence[str]) -> Choice:
    """An interpreter for each environment: that of an existing one, else the best that can be found.

    Args:
        environments: `gateway` and `models`, each with the interpreter it was made with.
        chosen: interpreters that come first, if they fit.
    """
    gateway = environments.get("gateway") or best(candidates(GATEWAY, chosen), with_library=False)
    models = environments.get("models") or best(candidates(MODELS, chosen), with_library=True)
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
