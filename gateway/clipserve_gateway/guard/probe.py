"""One look at a Triton: what it serves, and how that answers the known questions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.guard.triton_health import LOADING, Look
from clipserve_gateway.triton.canary import FINE, Finding, examine
from clipserve_gateway.triton.encoder import Encoder
from clipserve_gateway.triton.model_config import (
    IMAGE_SUFFIX,
    TEXT_SUFFIX,
    BadModelConfig,
    LoadedVersions,
    is_tower,
    pair,
)
from clipserve_gateway.triton.model_versions import ModelVersions
from clipserve_gateway.triton.models import ModelSource
from clipserve_gateway.types import ModelSpec

LAST_SECONDS = 0.5
"""For Triton's statistics, where everything else has taken all the time there was."""

LONGEST_REASON = 300
"""Characters of what Triton says of a model that it cannot load."""

Examined = Callable[[str, Finding, float], None]
"""Hears of each examination: the model, what was found, and how many seconds it took."""

Recent = Callable[[ModelSpec], Finding | None]
"""What somebody else has found of a model a moment ago; None where it is to be examined."""


class Connection(Encoder, ModelSource, Protocol):
    """A connection to one Triton."""

    async def completed(self, timeout: float) -> dict[str, int]:
        """Inputs that each Triton model has finished since it was loaded."""
        ...

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """Why each Triton model is not ready; empty where Triton does not say."""
        ...


async def look_at(
    triton: Connection,
    seconds: float,
    examined: Examined = lambda *_: None,
    recent: Recent = lambda _: None,
    versions: ModelVersions | None = None,
) -> Look:
    """Looks once, for about so many seconds at most. Never raises for what Triton does.

    With `versions`, which remembers what earlier looks saw, a new version of a model counts from its first
    right answer on, and the one before it as long as Triton has that loaded.
    """
    versions = ModelVersions() if versions is None else versions
    deadline = Deadline.after(seconds)
    try:
        index = await triton.repository_index(seconds)
        names = [name for name, ready in index.items() if ready and is_tower(name)]
        towers = {it.triton_name: it for it in await triton.towers(names, left(deadline))}
        failures = {} if all(index.values()) else await triton.load_failures(left(deadline))
    except errors.ClipserveError as error:
        late = isinstance(error, errors.DeadlineExceeded)
        detail = "Triton did not answer in time" if late else error.logged
        return Look(False, detail, completed=await completed(triton, deadline))
    versions.update(index, towers)
    specs = [it.spec for it in (*versions.current.values(), *versions.next.values())]
    findings = await asyncio.gather(*(find(triton, spec, deadline, examined, recent) for spec in specs))
    by_spec = dict(zip(specs, findings, strict=True))
    for name in [it.spec.name for it in versions.next.values() if by_spec[it.spec].verdict in FINE]:
        versions.switch(name)
    return Look(
        True,
        examined={name: by_spec[it.spec] for name, it in versions.current.items()},
        unready={
            name: str(it) if isinstance(it, BadModelConfig) else failure_of(name, index, failures)
            for name, it in pair(index, towers).items()
            if name not in versions.current
        },
        # Last, so that what others' inputs did while ours waited is counted.
        completed=await completed(triton, deadline),
    )


def failure_of(model: str, index: LoadedVersions, failures: Mapping[str, str]) -> str:
    """Why Triton does not serve a model."""
    for tower in (model + IMAGE_SUFFIX, model + TEXT_SUFFIX):
        if tower not in index:
            return f"the repository has no {tower}"
        # Triton says the reason, and then where in Python.
        reason = " ".join(failures.get(tower, "").partition("\n\nAt:")[0].split())
        if reason:
            return f"Triton cannot load {tower}: {reason[:LONGEST_REASON]}"
    return LOADING


async def find(
    triton: Connection, spec: ModelSpec, deadline: Deadline, examined: Examined, recent: Recent
) -> Finding:
    """What is known, or else one examination, which is reported."""
    if known := recent(spec):
        return known
    begin = time.monotonic()
    finding = await examine(triton, spec, deadline)
    examined(spec.name, finding, time.monotonic() - begin)
    return finding


async def completed(triton: Connection, deadline: Deadline) -> dict[str, int]:
    """What each tower has finished; nothing where Triton does not tell."""
    try:
        return await triton.completed(left(deadline))
    except errors.ClipserveError:
        return {}


def left(deadline: Deadline) -> float:
    """Seconds that are left, and never too few."""
    return max(LAST_SECONDS, deadline.remaining())
