"""Which models there are: discovered from Triton, watched as they come and go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

from clipserve_gateway import errors
from clipserve_gateway.flow.stages import note
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.logs import level_of_missing
from clipserve_gateway.triton.model_config import (
    TOWERS,
    LoadedVersions,
    TowerConfig,
    is_tower,
    pair_towers,
    tower_name,
)
from clipserve_gateway.types import ModelSpec

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.75
"""How long Triton may take to answer, for each second between two looks: a frozen one is noticed soon."""


class ModelSource(Protocol):
    """Where models come from."""

    async def repository_index(self, timeout: float) -> LoadedVersions:
        """Triton model → versions that are ready."""
        ...

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """Configurations of Triton models."""
        ...


class FirstModel(Protocol):
    """Remembers the model that was there first."""

    @property
    def name(self) -> str:
        """The model; empty while none is known."""
        ...

    async def settle(self, listed: Collection[str]) -> None:
        """Takes note of the models that there are now."""
        ...


class Models:
    """The models by name, kept up to date by `watch`.

    A model that Triton lists and does not serve now is unavailable, not unknown: it is being loaded, or
    something is wrong with it. One that was served stays known until Triton lists it no more. `on_change` is
    called after every change of the models or of their readiness. Errors name no model but that of the call
    and those that are `shown`.
    """

    def __init__(
        self,
        source: ModelSource,
        *,
        default: str,
        poll_seconds: float,
        metrics: Metrics,
        on_change: Callable[[], Awaitable[None]],
        shown: Callable[[str], bool] = lambda name: True,
        first: FirstModel | None = None,
    ) -> None:
        self._source = source
        self._default = default
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._specs: dict[str, ModelSpec] = {}
        self._ready: dict[str, bool] = {}
        self._waiting: set[str] = set()
        """Models that Triton lists, and does not serve whole now."""
        self._complaints: dict[str, tuple[str, int]] = {}
        self._reached = False
        self._begun = time.monotonic()
        self.looked = asyncio.Event()
        """Set once Triton has been asked, whatever it said."""
        self._on_change = on_change
        self._shown = shown
        self._first = first

    def all(self) -> list[tuple[ModelSpec, bool]]:
        """Every known model and whether it is ready, by name."""
        return [(self._specs[name], self._ready[name]) for name in sorted(self._specs)]

    def ready(self) -> bool:
        """Whether some model is ready: then the gateway can do useful work."""
        return any(self._ready.values())

    @property
    def default(self) -> str:
        """Name of the model that answers where none is named; empty if there is no such model.

        It is the one that was set, else the first one, be it served or not, else the only one.
        """
        if self._default:
            return self._default
        if self._first is not None and self._first.name:
            return self._first.name
        listed = self._listed()
        return next(iter(listed)) if len(listed) == 1 else ""

    def _listed(self) -> set[str]:
        """The models that Triton lists, served or not."""
        return self._specs.keys() | self._waiting

    def get(self, name: str, *, field: str = "model") -> ModelSpec:
        """The model of that name (the default one for an empty name), if it is ready.

        Raises ModelNotFound or, for no name and no default, InvalidInput, which name the `field` that the
        name came from; or ModelUnavailable.
        """
        if not self._reached:
            raise errors.ModelUnavailable(
                "the inference server has not answered yet; try again in a few seconds"
            )
        wanted = name or self.default
        if not wanted:
            raise errors.InvalidInput(
                f"name a model: this server has {self._known()} and no default (its operator sets one with "
                "CLIPSERVE_DEFAULT_MODEL or --default-model)",
                field=field,
            )
        if wanted in self._waiting or wanted in self._specs:
            # Names that callers make up would be metrics without end.
            note("model", wanted)
        if wanted in self._waiting:
            raise errors.ModelLoading(f"model {wanted!r} is not ready; try again in a few seconds")
        if wanted not in self._specs and not name:
            raise errors.ModelNotFound(
                f"the default model, {wanted!r}, is not there; name a model (there are: {self._known()}), or "
                "let the operator choose another default with CLIPSERVE_DEFAULT_MODEL or --default-model",
                field=field,
            )
        if wanted not in self._specs:
            raise errors.ModelNotFound(f"no model {wanted[:80]!r}; there are: {self._known()}", field=field)
        if not self._ready[wanted]:
            raise errors.ModelUnavailable(f"model {wanted!r} is not ready; try again in a few seconds")
        return self._specs[wanted]

    def _known(self) -> str:
        """The names that the caller may know of, for an error's text."""
        return ", ".join(filter(self._shown, sorted(self._specs))) or "none"

    async def watch(self) -> None:
        """Refreshes for ever; a failure is told once and retried."""
        while True:
            await self.refresh()
            self.looked.set()
            await asyncio.sleep(self._poll_seconds)

    async def refresh(self) -> None:
        """Asks Triton once. Never raises for a Triton that is down: then no model is ready."""
        timeout = max(ANSWER_SECONDS, ANSWER_SECONDS * self._poll_seconds)
        try:
            index = await self._source.repository_index(timeout)
            towers = await self._source.towers([n for n, up in index.items() if up and is_tower(n)], timeout)
        except errors.ClipserveError as error:
            self._complain("Triton", error.logged, level_of_missing(self._begun, seen=self._reached))
            self._waiting -= self._specs.keys()
            await self._update(self._specs, dict.fromkeys(self._specs, False))
            return
        self._reached = True
        self._complain("Triton", "")
        await self._update(*self._assemble(index, {tower.triton_name: tower for tower in towers}))
        if self._first is not None and not self._default:
            await self._first.settle(self._listed())

    def _assemble(
        self, index: LoadedVersions, towers: dict[str, TowerConfig]
    ) -> tuple[dict[str, ModelSpec], dict[str, bool]]:
        """Tells models and their readiness; one bad model does not make the others unready."""
        specs, ready = {}, {}
        self._waiting = set()
        for name, found in pair_towers(index, towers).items():
            complaint, level = "", logging.WARNING
            if isinstance(found, ModelSpec):
                specs[name], ready[name] = found, True
            else:
                complaint = str(found or f"model {name} is not ready in Triton")
                if not found:
                    level = level_of_missing(self._begun, seen=name in self._specs)
                if name in self._specs:
                    specs[name], ready[name] = self._specs[name], False
                if name in self._specs or all(tower_name(name, it) in index for it in TOWERS):
                    self._waiting.add(name)
            self._complain(name, complaint, level)
        return specs, ready

    async def _update(self, specs: dict[str, ModelSpec], ready: dict[str, bool]) -> None:
        if (specs, ready) == (self._specs, self._ready):
            return
        for name in self._ready.keys() - ready.keys():
            self._metrics.model_ready.remove(name)
        for name, up in ready.items():
            self._metrics.model_ready.labels(name).set(up)
            if self._ready.get(name) is not up or self._specs.get(name) != specs[name]:
                log.info(
                    "model %s (%s…, version %s) is %s",
                    name,
                    specs[name].fingerprint[:12],
                    specs[name].version,
                    "ready" if up else "not ready",
                )
        self._specs, self._ready = specs, ready
        await self._on_change()

    def _complain(self, about: str, complaint: str, level: int = logging.WARNING) -> None:
        """Logs a complaint when it is new, or its level higher than before, not at every poll."""
        before, told = self._complaints.get(about, ("", 0))
        if complaint and (complaint != before or level > told):
            log.log(level, "%s", complaint)
        self._complaints[about] = complaint, level
