"""The probe of a Triton: which models it serves, and the results of their canaries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton.canary import CanaryResult, run_canary
from clipserve_gateway.triton.encoder import Encoder
from clipserve_gateway.triton.model_config import is_tower, pair_towers
from clipserve_gateway.triton.model_versions import ModelVersions
from clipserve_gateway.triton.models import ModelSource
from clipserve_gateway.triton.parameters import BadModelConfig
from clipserve_gateway.triton.unready import unready_reason
from clipserve_gateway.types import ModelSpec

LAST_SECONDS = 0.5
"""Time for Triton's statistics if the rest of the probe has used up its time."""

OnResult = Callable[[str, CanaryResult], None]
"""Called with the model and the result of each canary run."""

ReusableResult = Callable[[ModelSpec], "CanaryResult | None"]
"""The result of a canary run elsewhere in this process; None if the probe must run the canary."""


class WatchedTriton(Encoder, ModelSource, Protocol):
    """A connection to the Triton that is probed."""

    async def completed(self, timeout: float) -> dict[str, int]:
        """Inputs that each Triton model has finished since it was loaded."""

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """Why each Triton model is not ready; empty if Triton gives no reason."""


@dataclass(frozen=True)
class ProbeResult:
    """What one probe saw."""

    answered: bool
    """Whether Triton itself answered. If not, all its models count as missing."""
    detail: str = ""
    """Why Triton did not answer."""
    canaries: Mapping[str, CanaryResult] = field(default_factory=dict)
    """The models that are ready, with the results of their canaries."""
    unready: Mapping[str, str] = field(default_factory=dict)
    """The other models, and why they are not ready."""
    completed: Mapping[str, int] = field(default_factory=dict)
    """Inputs that each tower has finished since it was loaded; empty if Triton did not say."""


class Probe:
    """Probes one Triton again and again.

    A new version of a model counts from its first right answer on; until then the previous version counts, as
    long as Triton has it loaded.
    """

    def __init__(self, triton: WatchedTriton, seconds: float, on_result: OnResult = lambda *_: None) -> None:
        """`seconds` is about the longest time that one probe takes."""
        self.versions = ModelVersions()
        self._triton = triton
        self._seconds = seconds
        self._on_result = on_result

    async def run(self, reusable_result: ReusableResult = lambda _: None) -> ProbeResult:
        """Probes once. Never raises for errors of Triton."""
        deadline = Deadline.after(self._seconds)
        try:
            index = await self._triton.repository_index(self._seconds)
            names = [name for name, ready in index.items() if ready and is_tower(name)]
            configs = await self._triton.towers(names, seconds_left(deadline))
            loaded = all(index.values())
            failures = {} if loaded else await self._triton.load_failures(seconds_left(deadline))
        except errors.ClipserveError as error:
            late = isinstance(error, errors.DeadlineExceeded)
            detail = "Triton did not answer in time" if late else error.logged
            return ProbeResult(False, detail, completed=await self._completed(deadline))
        towers = {tower.triton_name: tower for tower in configs}
        versions = self.versions
        versions.update(index, towers)
        specs = [served.spec for served in (*versions.current.values(), *versions.next.values())]
        canaries = await asyncio.gather(*(self._canary(spec, deadline, reusable_result) for spec in specs))
        results = dict(zip(specs, canaries, strict=True))
        for name in [name for name, served in versions.next.items() if results[served.spec].ok]:
            versions.switch(name)
        return ProbeResult(
            True,
            canaries={name: results[served.spec] for name, served in versions.current.items()},
            unready={
                name: str(model)
                if isinstance(model, BadModelConfig)
                else unready_reason(name, index, failures, towers)
                for name, model in pair_towers(index, towers).items()
                if name not in versions.current
            },
            # Last, so that it counts the inputs of others that were finished while the canaries waited.
            completed=await self._completed(deadline),
        )

    async def _canary(
        self, spec: ModelSpec, deadline: Deadline, reusable_result: ReusableResult
    ) -> CanaryResult:
        if reused := reusable_result(spec):
            return reused
        result = await run_canary(self._triton, spec, deadline)
        self._on_result(spec.name, result)
        return result

    async def _completed(self, deadline: Deadline) -> dict[str, int]:
        try:
            return await self._triton.completed(seconds_left(deadline))
        except errors.ClipserveError:
            return {}


def seconds_left(deadline: Deadline) -> float:
    """Seconds until the deadline, at least LAST_SECONDS."""
    return max(LAST_SECONDS, deadline.remaining())
