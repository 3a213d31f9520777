"""One Triton replica as this gateway sees it: what it serves, and whether its answers are to be trusted."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.triton.breaker import Breaker
from clipserve_gateway.triton.canary import PAUSE_SECONDS, Finding, Verdict, examine
from clipserve_gateway.triton.encoder import Encoder
from clipserve_gateway.triton.model_config import (
    TOWERS,
    LoadedVersions,
    TowerConfig,
    is_tower,
    model_name,
    tower_name,
)
from clipserve_gateway.triton.model_health import Standing
from clipserve_gateway.triton.model_versions import ModelVersions, ServedModel
from clipserve_gateway.triton.models import ModelSource
from clipserve_gateway.types import ModelSpec, Tower

log = logging.getLogger(__name__)

T = TypeVar("T")

ASK_AGAIN_SECONDS = 1.0
"""How long a replica that has become suspect may take to say that it is still there."""


class Connection(Encoder, ModelSource, Protocol):
    """A connection to one replica."""

    async def close(self) -> None:
        """Ends the connection."""
        ...


class Replica:
    """A connection with a circuit breaker, and a known-answer examination for each version of a model.

    It is down from the moment that it does not answer until it answers again: calls under way fail at once,
    new ones are not sent. A model is in service while its known answers are right, and a new version of it
    from its first right answers on. Belongs to one event loop.
    """

    def __init__(
        self, address: str, connection: Connection, metrics: Metrics, *, examine_seconds: float | None
    ) -> None:
        """`examine_seconds` is what pause_after wants."""
        self.address = address
        self.connection = connection
        self.in_flight = 0
        self.loaded: LoadedVersions = {}
        self.versions = ModelVersions()
        self._metrics = metrics
        self._examine_seconds = examine_seconds
        self._towers: dict[str, TowerConfig] = {}
        self._standings: dict[ModelSpec, Standing] = {}
        self._examinations: dict[ModelSpec, asyncio.Task[None]] = {}
        self._breaker = Breaker(address, metrics, self.ask_again)
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_success = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._breaker.up

    def answering(self, spec: ModelSpec) -> ServedModel | None:
        """What answers calls for a specification here: it, or its equal, if its known answers are right."""
        found = self.versions.answering(spec) if self.up else None
        return found if found is not None and self._right(found.spec) else None

    def good(self, model: str) -> bool:
        """Whether a model's known answers are right here, in the version in service."""
        current = self.versions.current.get(model)
        return current is not None and self._right(current.spec)

    def models_in_service(self) -> list[str]:
        """Models that answer right here, as long as the replica answers at all."""
        return [model for model in self.versions.current if self.good(model)] if self.up else []

    def _right(self, spec: ModelSpec) -> bool:
        standing = self._standings.get(spec)
        return standing is not None and standing.serves

    def recent(self, spec: ModelSpec) -> Finding | None:
        """The last right answers of a model, if there is no need to ask for them again."""
        if not self.up or not self._right(spec):
            return None
        return self._standings[spec].recent(self._examine_seconds)

    def tower(self, triton_name: str) -> TowerConfig | None:
        """The configuration of a tower: of the version in service, or what Triton says if there is none."""
        for tower in TOWERS:
            current = self.versions.current.get(model_name(triton_name))
            if current is not None and current.tower(tower).triton_name == triton_name:
                return current.tower(tower)
        return self._towers.get(triton_name)

    async def call(self, spec: ModelSpec, tower: Tower, work: Callable[[], Awaitable[T]]) -> T:
        """The result of one call to a tower of what answers here.

        Raises ModelUnavailable at once when the replica goes down meanwhile, or what the work raises.
        """
        standing = self._standings[spec]
        self.in_flight += 1
        self._idle.clear()
        try:
            with standing.calling(tower_name(spec.name, tower)):
                result = await self._breaker.run(work)
        except errors.ServerUnavailable as error:
            # Whoever comes next must not wait for the same.
            self._breaker.go_down(error.logged)
            raise
        except errors.ModelUnavailable as error:
            # It was there a moment ago: Triton is stopping, or has unloaded this version.
            if self._standings.get(spec) is standing:
                self._judge(spec, Finding(Verdict.MISSING, error.logged))
            raise
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._idle.set()
        self._last_success = self._breaker.heard = time.monotonic()
        return result

    def ask_again(self) -> None:
        """Refreshes now, not at the next look-out; once at a time."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self.refresh(ASK_AGAIN_SECONDS))

    async def refresh(self, timeout: float) -> None:
        """Asks what it serves and examines what is due. Never raises for a replica that is down."""
        try:
            if not await self._ask(timeout) and not await self._ask(timeout):
                self._breaker.go_down(f"no answer in two times {timeout:g} s")
                return
        except errors.ClipserveError as error:
            self._breaker.go_down(error.logged)
            return
        self.versions.update(self.loaded, self._towers)
        for name, complaint in self.versions.newly_refused.items():
            if self.good(name):
                log.error("replica %s: the version before stays in service: %s", self.address, complaint)
        returned = not self.up
        if returned:
            # What it answered before it went says nothing: it may be another process.
            self._forget()
            self._breaker.come_up()
        loaded = {it.spec for it in self.versions}
        for spec in list(self._standings):
            # Another model of the same name, or another version, has a standing of its own.
            if spec not in loaded:
                self._drop(spec)
        for spec in [it.spec for it in self.versions.next.values() if self._right(it.spec)]:
            self._switch(spec)
        await self._examine_due(timeout)
        if returned and self.up:
            self._breaker.complain("")

    async def _ask(self, timeout: float) -> bool:
        """What it serves; false if it is late, and answers nobody else either."""
        begin = time.monotonic()
        try:
            loaded = await self.connection.repository_index(timeout)
            names = [name for name, ready in loaded.items() if ready and is_tower(name)]
            towers = await self.connection.towers(names, timeout)
        except errors.DeadlineExceeded:
            return self._last_success >= begin
        self._breaker.heard = time.monotonic()
        self.loaded, self._towers = loaded, {tower.triton_name: tower for tower in towers}
        return True

    async def _examine_due(self, timeout: float) -> None:
        """Begins examinations. Waits for those of models that are not in service yet, for a while only."""
        for spec in [it.spec for it in self.versions]:
            standing = self._standings.setdefault(spec, Standing())
            if spec not in self._examinations and standing.due(self._examine_seconds):
                task = asyncio.create_task(self._examine(spec, standing))
                self._examinations[spec] = task
                task.add_done_callback(functools.partial(self._examined, spec))
        waiting = [task for spec, task in self._examinations.items() if not self._right(spec)]
        if waiting:
            await asyncio.wait(waiting, timeout=timeout)

    def _examined(self, spec: ModelSpec, task: asyncio.Task[None]) -> None:
        if self._examinations.get(spec) is task:
            del self._examinations[spec]

    async def _examine(self, spec: ModelSpec, standing: Standing) -> None:
        deadline = Deadline.after(max(1.0, self._examine_seconds or PAUSE_SECONDS))
        found = await examine(self.connection, spec, deadline)
        if standing.take(found):
            self._judge(spec, found)

    def _judge(self, spec: ModelSpec, found: Finding) -> None:
        standing = self._standings[spec]
        before, standing.finding = standing.finding, found
        told = before is not None and before.verdict is found.verdict
        role = self.versions.role(spec)
        if role == "next":
            if standing.serves:
                self._switch(spec)
            elif not told:
                log.error(
                    "replica %s: version %s of model %s is not taken into service, the one before stays: %s",
                    self.address, spec.version, spec.name, found.detail,
                )  # fmt: skip
        elif role == "current":
            self._metrics.canary_ok.labels(self.address, spec.name).set(standing.serves)
            if told:
                return
            if standing.serves:
                log.info("replica %s: model %s is in service", self.address, spec.name)
            else:
                log.error("replica %s: model %s is out of service: %s", self.address, spec.name, found.detail)

    def _switch(self, spec: ModelSpec) -> None:
        """A new version answers right: it is in service from now on."""
        self.versions.switch(spec.name)
        self._metrics.canary_ok.labels(self.address, spec.name).set(1)
        log.info("replica %s: model %s is in service in version %s", self.address, spec.name, spec.version)

    def _forget(self) -> None:
        for spec in list(self._standings):
            self._drop(spec)

    def _drop(self, spec: ModelSpec) -> None:
        if spec in self._examinations:
            self._examinations.pop(spec).cancel()
        known = self._standings.pop(spec).finding is not None
        if known and not any(self._right(it.spec) for it in self.versions if it.spec.name == spec.name):
            with contextlib.suppress(KeyError):
                self._metrics.canary_ok.remove(self.address, spec.name)

    async def leave(self, seconds: float) -> None:
        """Ends the connection once no call is under way, or after so many seconds."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except asyncio.TimeoutError:
            log.warning("replica %s: %d calls are cut off", self.address, self.in_flight)
        finally:
            await self.close()

    async def close(self) -> None:
        """Ends the connection; calls under way fail."""
        if self._asking is not None:
            self._asking.cancel()
        self._breaker.forget()
        self._forget()
        await self.connection.close()
