"""One Triton replica as this gateway sees it: the models it serves, and their health."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.breaker import Breaker
from clipserve_gateway.triton.canary import PAUSE_SECONDS, CanaryResult, run_canary
from clipserve_gateway.triton.encoder import Encoder
from clipserve_gateway.triton.model_config import TOWERS, LoadedVersions, is_tower, model_name, tower_name
from clipserve_gateway.triton.model_health import State
from clipserve_gateway.triton.model_versions import ModelVersions, ServedModel
from clipserve_gateway.triton.models import ModelSource
from clipserve_gateway.triton.parameters import TowerConfig
from clipserve_gateway.triton.tokenizer_loader import TokenizerLoader, TokenizerSource
from clipserve_gateway.triton.unready import LOADING, unready_reason
from clipserve_gateway.triton.watched_model import WatchedModel
from clipserve_gateway.types import ModelSpec, Tower

log = logging.getLogger(__name__)

T = TypeVar("T")

STALL_CHECK_SECONDS = 1.0
"""Time in which a replica that has stalled must answer a question about its models."""


class TritonConnection(Encoder, ModelSource, TokenizerSource, Protocol):
    """A connection to one replica."""

    async def load_failures(self, timeout: float) -> dict[str, str]:
        """Why each Triton model is not ready; empty if Triton gives no reason."""

    async def close(self) -> None:
        """Closes the connection."""


class Replica:
    """A connection with a circuit breaker, and a canary for each version of a model.

    When the replica stops answering, calls under way fail at once and no further calls are sent until it
    answers again. A version of a model is in service while its health says so; a new version replaces the
    current one after its first right answer. The canary runs once the model's tokenizer is loaded. Belongs to
    one event loop.
    """

    def __init__(
        self,
        address: str,
        connection: TritonConnection,
        metrics: Metrics,
        tokenizers: TokenizerLoader,
        *,
        canary_seconds: float | None,
    ) -> None:
        """`canary_seconds`: see `pause_after`."""
        self.address = address
        self.connection = connection
        self.in_flight = 0
        self.loaded: LoadedVersions = {}
        self.versions = ModelVersions()
        self._metrics = metrics
        self._tokenizers = tokenizers
        self._canary_seconds = canary_seconds
        self._towers: dict[str, TowerConfig] = {}
        self._failures: Mapping[str, str] = {}
        self._watched: dict[ModelSpec, WatchedModel] = {}
        self._breaker = Breaker(address, metrics, self.check_now)
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_success = 0.0
        self._check: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether the replica answered the last question."""
        return self._breaker.up

    def answering(self, spec: ModelSpec) -> ServedModel | None:
        """The version in service here that answers calls for a specification; None if there is none."""
        served = self.versions.answering(spec) if self.up else None
        return served if served is not None and self._in_service(served.spec) else None

    def healthy(self, model: str) -> bool:
        """Whether the current version of a model is in service."""
        current = self.versions.current.get(model)
        return current is not None and self._in_service(current.spec)

    def _in_service(self, spec: ModelSpec) -> bool:
        watched = self._watched.get(spec)
        return watched is not None and watched.health.in_service

    def why_unready(self, model: str) -> str:
        """Why the current version of a model is not in service, for operators; empty if it is."""
        current = self.versions.current.get(model)
        watched = self._watched.get(current.spec) if current is not None else None
        if not self.up:
            return "Triton does not answer"
        if current is None:
            refused = self.versions.refused.get(model)
            reason = refused or unready_reason(model, self.loaded, self._failures, self._towers)
            return f"{reason}; Triton's log says whether it still loads" if reason == LOADING else reason
        if watched is None or watched.health.state is State.NEW:
            return "its first canary is not answered yet"
        health = watched.health
        return "" if health.in_service else f"it {health.symptom}: {health.result.detail}"

    def reusable_result(self, spec: ModelSpec) -> CanaryResult | None:
        """The result of the last canary run of a model, if it was right and is recent."""
        watched = self._watched.get(spec)
        return watched.reusable_result() if watched is not None and self.up else None

    def tower(self, triton_name: str) -> TowerConfig | None:
        """The configuration of a tower: of the current version, or the one that Triton reports."""
        current = self.versions.current.get(model_name(triton_name))
        for tower in TOWERS:
            if current is not None and current.tower(tower).triton_name == triton_name:
                return current.tower(tower)
        return self._towers.get(triton_name)

    async def call(self, spec: ModelSpec, tower: Tower, work: Callable[[], Awaitable[T]]) -> T:
        """The result of one call to a tower of a version in service.

        Raises ModelUnavailable at once if the replica goes down meanwhile, or what `work` raises.
        """
        watched = self._watched[spec]
        self.in_flight += 1
        self._idle.clear()
        try:
            with watched.calling(tower_name(spec.name, tower)):
                result = await self._breaker.run(work)
        except errors.ServerUnavailable as error:
            # Later calls fail at once.
            self._breaker.go_down(error.logged)
            raise
        except errors.ModelUnavailable as error:
            # It was served a moment ago: Triton is stopping, or has unloaded this version.
            if self._watched.get(spec) is watched:
                before = watched.health.state
                watched.unload(error.logged)
                self._report(spec, before)
            raise
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()
        self._last_success = self._breaker.heard = time.monotonic()
        return result

    def check_now(self) -> None:
        """Starts a refresh, unless one that was started in this way is still running."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self.refresh(STALL_CHECK_SECONDS))

    async def refresh(self, timeout: float) -> None:
        """Asks Triton for its models, and runs the canaries that are due. Never raises for a replica that is
        down."""
        try:
            if not await self._ask(timeout) and not await self._ask(timeout):
                self._breaker.go_down(f"no answer in two times {timeout:g} s")
                return
        except errors.ClipserveError as error:
            self._breaker.go_down(error.logged)
            return
        self.versions.update(self.loaded, self._towers)
        for name, reason in self.versions.newly_refused.items():
            if self.healthy(name):
                log.error("replica %s: the previous version stays in service: %s", self.address, reason)
        returned = not self.up
        if returned:
            # It may be another process: earlier answers say nothing about it.
            self._forget_all()
            self._breaker.come_up()
        loaded = {served.spec for served in self.versions}
        for spec in list(self._watched):
            if spec not in loaded:
                self._forget(spec)
        for spec in [served.spec for served in self.versions.next.values() if self._in_service(served.spec)]:
            self._switch(spec)
        await self._run_due_canaries(timeout)
        if returned and self.up:
            self._breaker.complain("")

    async def _ask(self, timeout: float) -> bool:
        """Asks Triton for its models; false if it is late and has answered no call meanwhile."""
        begin = time.monotonic()
        try:
            loaded = await self.connection.repository_index(timeout)
            names = [name for name, ready in loaded.items() if ready and is_tower(name)]
            towers = await self.connection.towers(names, timeout)
            failures = {} if all(loaded.values()) else await self.connection.load_failures(timeout)
        except errors.DeadlineExceeded:
            return self._last_success >= begin
        self._breaker.heard = time.monotonic()
        self._failures = failures
        self.loaded, self._towers = loaded, {tower.triton_name: tower for tower in towers}
        return True

    async def _run_due_canaries(self, timeout: float) -> None:
        """Starts the canaries that are due; waits up to `timeout` for those of models out of service."""
        for spec in [served.spec for served in self.versions]:
            watched = self._watched.setdefault(spec, WatchedModel(self._canary_seconds))
            if watched.due():
                watched.canary = asyncio.create_task(self._run_canary(spec, watched))
        out = [watched for watched in self._watched.values() if not watched.health.in_service]
        waiting = [watched.canary for watched in out if watched.canary is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)

    async def _run_canary(self, spec: ModelSpec, watched: WatchedModel) -> None:
        result = await self._tokenizers.load(spec, self.connection)
        if result is None:
            deadline = Deadline.after(max(1.0, self._canary_seconds or PAUSE_SECONDS))
            result = await run_canary(self.connection, spec, deadline)
        if self._watched.get(spec) is not watched:
            # Forgotten meanwhile. In Python 3.11, asyncio.wait_for can swallow the cancellation.
            return
        before = watched.health.state
        watched.record(result)
        self._report(spec, before)

    def _report(self, spec: ModelSpec, before: State) -> None:
        """Tells the log and the metrics of a model's health, and puts a new version into service."""
        health, role = self._watched[spec].health, self.versions.role(spec)
        if health.state is State.NEW:
            return
        if role == "next" and health.in_service:
            self._switch(spec)
        elif role == "next" and health.state is not before:
            log.error(
                "replica %s: version %s of model %s does not go into service, the previous one stays: %s",
                self.address, spec.version, spec.name, health.result.detail,
            )  # fmt: skip
        elif role == "current":
            self._metrics.canary_ok.labels(self.address, spec.name).set(health.in_service)
            if health.in_service and before not in (State.HEALTHY, State.SUSPECT):
                log.info("replica %s: model %s is in service", self.address, spec.name)
            elif not health.in_service and health.state is not before:
                detail = health.result.detail
                log.error("replica %s: model %s is out of service: %s", self.address, spec.name, detail)

    def _switch(self, spec: ModelSpec) -> None:
        """Puts a new version into service."""
        self.versions.switch(spec.name)
        self._metrics.canary_ok.labels(self.address, spec.name).set(1)
        log.info("replica %s: version %s of model %s is in service", self.address, spec.version, spec.name)

    def _forget_all(self) -> None:
        for spec in list(self._watched):
            self._forget(spec)

    def _forget(self, spec: ModelSpec) -> None:
        forgotten = self._watched.pop(spec)
        if forgotten.canary is not None:
            forgotten.canary.cancel()
        reported = forgotten.health.state is not State.NEW
        versions = [served.spec for served in self.versions if served.spec.name == spec.name]
        if reported and not any(map(self._in_service, versions)):
            with contextlib.suppress(KeyError):
                self._metrics.canary_ok.remove(self.address, spec.name)

    async def leave(self, seconds: float) -> None:
        """Closes the connection when no call is under way, at the latest after `seconds`."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            log.warning("replica %s: %d calls are cut off", self.address, self.in_flight)
        finally:
            await self.close()

    async def close(self) -> None:
        """Closes the connection; calls under way fail."""
        if self._check is not None:
            self._check.cancel()
        self._breaker.forget()
        self._forget_all()
        await self.connection.close()
