"""The models by name: asks Triton for them, again and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from clipserve_gateway import errors
from clipserve_gateway.flow.stages import note
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.process.logs import level_of_missing
from clipserve_gateway.process.safe_text import safe_lines
from clipserve_gateway.triton.model_config import TOWERS, LoadedVersions, is_tower, pair_towers, tower_name
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.triton.shared_fingerprints import conflicts
from clipserve_gateway.triton.unready import FAILED_LOAD
from clipserve_gateway.types import ModelSpec

log = logging.getLogger(__name__)

LATE_SECONDS = 120.0
"""After this time, calls to a removed model have ended."""
ANSWER_SECONDS = 0.75
"""Time in which Triton must answer, for each second between two refreshes."""


class ModelSource(Protocol):
    """The source of models: a Triton, or all replicas."""

    async def repository_index(self, timeout: float) -> LoadedVersions:
        """Triton model → its versions that are ready."""

    async def towers(self, names: Sequence[str], timeout: float) -> list[TowerConfig]:
        """Configurations of Triton models."""


class PooledSource(ModelSource, Protocol):
    """A source that knows why models are not ready."""

    def why_unready(self, model: str) -> str:
        """Why a model was not in service when it was last looked at, for operators; empty if it was."""


class FirstModel(Protocol):
    """Remembers the first model. Implemented in `inference`, a layer above."""

    @property
    def name(self) -> str:
        """The model; empty while it is not known."""

    async def settle(self, listed: Collection[str]) -> None:
        """Takes the models that Triton lists now into account."""


class Models:
    """The models by name, kept up to date by `watch`.

    A model that Triton lists but does not serve is unavailable, not unknown: it is loading, or something is
    wrong with it. A model that was served stays known as long as Triton lists it. A model that has the
    fingerprint of another one and is not the same is unavailable, too. `on_change` is called after each
    change of the models or of their readiness. Errors name the model of the call, and others only if `shown`
    allows it.
    """

    def __init__(
        self,
        source: PooledSource,
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
        """Models that Triton lists, and of which it does not serve both towers."""
        self._told: dict[str, bool] = {}
        """The readiness that metrics and `on_change` were told last."""
        self._half: set[str] = set()
        """Models that were never served, and of which Triton lists one tower."""
        self.refused: dict[str, str] = {}
        """Models with the fingerprint of another model, and what differs."""
        self._removed: dict[str, float] = {}
        """Models that Triton no longer lists, and when that was seen."""
        self._complaints: dict[str, tuple[str, int]] = {}
        self._reached = False
        self._created_at = time.monotonic()
        self.looked = asyncio.Event()
        """Set after the first refresh, even if Triton did not answer."""
        self._on_change = on_change
        self._shown = shown
        self._first = first

    def all(self) -> list[tuple[ModelSpec, bool]]:
        """Every known model and whether it is ready, by name."""
        return [(self._specs[name], self._ready[name]) for name in sorted(self._specs)]

    def readiness(self) -> dict[str, bool]:
        """Whether each model that Triton lists is ready; so are those that were never served."""
        return dict.fromkeys(self._waiting | self._half, False) | self._ready

    def status(self) -> str:
        """A line for each model: its name, and `ready` or why it is not. For operators; thread-safe."""
        lines = []
        for name, ready in sorted(self.readiness().items()):
            reason = "" if ready else self._why_unready(name) or "it has just changed"
            lines.append(f"{name} ready" if ready else f"{name} not ready: {reason}")
        return safe_lines("\n".join(lines)) or "Triton lists no models"

    def _why_unready(self, name: str) -> str:
        return self.refused.get(name) or self._source.why_unready(name)

    def ready(self) -> bool:
        """Whether some model is ready: then the gateway can do useful work."""
        return any(self._ready.values())

    @property
    def default(self) -> str:
        """The model for calls that name none; empty if there is no default.

        The one that is set; otherwise the first one, even if it is not served; otherwise the only one.
        """
        if self._default:
            return self._default
        if self._first is not None and self._first.name:
            return self._first.name
        listed = self._listed()
        return next(iter(listed)) if len(listed) == 1 else ""

    def _listed(self) -> set[str]:
        """The models that Triton lists."""
        return self._specs.keys() | self._waiting

    def get(self, name: str, *, field: str = "model") -> ModelSpec:
        """The model of that name, or the default one for an empty name.

        Raises ModelNotFound, InvalidInput (no name and no default) or ModelUnavailable (not ready). The first
        two name the request's `field`.
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
            # Only known names: each name is a label of metrics.
            note("model", wanted)
        if wanted in self._waiting:
            raise errors.ModelLoading(f"model {wanted!r} is not ready; try again in a few seconds")
        if wanted not in self._specs and not name:
            raise errors.ModelNotFound(
                f"the default model {wanted!r} does not exist; name a model (there are: {self._known()}), or "
                "ask the operator to set another default with CLIPSERVE_DEFAULT_MODEL or --default-model",
                field=field,
            )
        if wanted not in self._specs:
            raise errors.ModelNotFound(f"no model {wanted[:80]!r}; there are: {self._known()}", field=field)
        if not self._ready[wanted]:
            raise errors.ModelUnavailable(f"model {wanted!r} is not ready; try again in a few seconds")
        return self._specs[wanted]

    def _known(self) -> str:
        """The names that the caller may see, for an error."""
        return ", ".join(filter(self._shown, sorted(self._specs))) or "none"

    async def watch(self) -> None:
        """Refreshes forever."""
        while True:
            await self.refresh()
            self.looked.set()
            await asyncio.sleep(self._poll_seconds)

    async def refresh(self) -> None:
        """Asks Triton once. If Triton does not answer, no model is ready; this does not raise."""
        timeout = max(ANSWER_SECONDS, ANSWER_SECONDS * self._poll_seconds)
        try:
            index = await self._source.repository_index(timeout)
            towers = await self._source.towers([n for n, up in index.items() if up and is_tower(n)], timeout)
        except errors.ClipserveError as error:
            self._complain("Triton", error.logged, level_of_missing(self._created_at, seen=self._reached))
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
        """The models and their readiness. One bad model does not affect the others."""
        specs, ready = {}, {}
        self._waiting, self._half = set(), set()
        models = pair_towers(index, towers)
        self.refused = self._conflicts(models)
        for name, model in models.items():
            complaint, level = "", logging.WARNING
            if isinstance(model, ModelSpec) and name not in self.refused:
                specs[name], ready[name] = model, True
            else:
                error = self.refused.get(name) or model
                reason = "" if error else self._source.why_unready(name)
                complaint = str(error or f"model {name} is not ready: {reason}".rstrip(": "))
                if not error and FAILED_LOAD not in reason:
                    level = level_of_missing(self._created_at, seen=name in self._specs)
                if name in self._specs:
                    specs[name], ready[name] = self._specs[name], False
                if name in self._specs or all(tower_name(name, tower) in index for tower in TOWERS):
                    self._waiting.add(name)
                else:
                    self._half.add(name)
            self._complain(name, complaint, level)
        return specs, ready

    def _conflicts(self, models: Mapping[str, object]) -> dict[str, str]:
        """See `conflicts`. A model that was served keeps its fingerprint while it is listed and not ready."""
        known = {name: model if isinstance(model, ModelSpec) else self._specs.get(name)
                 for name, model in models.items()}  # fmt: skip
        return conflicts((spec for spec in known.values() if spec), self._specs, self.default)

    async def _update(self, specs: dict[str, ModelSpec], ready: dict[str, bool]) -> None:
        for name, up in ready.items():
            if self._ready.get(name) is not up or self._specs.get(name) != specs[name]:
                log.info(
                    "model %s (%s…, version %s) is %s",
                    name,
                    specs[name].fingerprint[:12],
                    specs[name].version,
                    "ready" if up else "not ready",
                )
        same_specs = specs == self._specs
        self._specs, self._ready = specs, ready
        before, self._told = self._told, self.readiness()
        self._forget_removed(before)
        if same_specs and self._told == before:
            return
        for name, up in self._told.items():
            self._metrics.model_ready.labels(name).set(up)
        await self._on_change()

    def _forget_removed(self, before: Mapping[str, bool]) -> None:
        """Removes what is kept of models that Triton no longer lists. Calls under way are counted later."""
        now = time.monotonic()
        self._removed |= dict.fromkeys(before.keys() - self._told.keys(), now)
        for name, since in list(self._removed.items()):
            if name in self._told or now - since > LATE_SECONDS:
                del self._removed[name]
            if name not in self._told:
                self._metrics.forget_model(name)
                self._complaints.pop(name, None)

    def _complain(self, about: str, complaint: str, level: int = logging.WARNING) -> None:
        """Logs a complaint if it is new or its level is higher than before."""
        before, logged_level = self._complaints.get(about, ("", 0))
        if complaint and (complaint != before or level > logged_level):
            log.log(level, "%s", complaint)
        self._complaints[about] = complaint, level
