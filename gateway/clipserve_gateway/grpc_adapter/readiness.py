"""Whether this gateway is ready, and which models are: reported by grpc.health.v1 and /readyz.

A failure of Triton or of the engine does not make a gateway unready: every gateway would be unready at once,
and calls that do not need the failed part would fail too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from clipserve_gateway.errors import ClipserveError, StorageRefused
from clipserve_gateway.grpc_adapter.health import CALLS_SERVICE, MODEL_SERVICE, HealthServicer
from clipserve_gateway.index.base import Engine
from clipserve_gateway.triton.models import Models

log = logging.getLogger(__name__)

AGAIN_SECONDS = 5.0
"""Seconds between two attempts to open an engine that refuses this gateway."""
OPEN_SECONDS = 10.0
"""Seconds after which an engine that has not opened counts as unavailable."""


class Readiness:
    """Opens the engine, and reports what is ready.

    The gateway is ready once it has looked for models, whether or not it found one. An engine that refuses
    this gateway (credentials, rights or release) keeps it unready, so that a rollout with a wrong setting
    stops. An engine that does not answer does not.

    Args:
        services: names of gRPC services that have the status of the gateway.
        remote: whether the engine runs elsewhere. The gateway then waits for it: other gateways may serve.
    """

    def __init__(
        self,
        models: Models,
        engine: Engine,
        health: HealthServicer,
        services: Sequence[str],
        *,
        remote: bool,
    ) -> None:
        self._models = models
        self._engine = engine
        self._health = health
        self._names = ("", *services, CALLS_SERVICE)
        self._remote = remote
        self._tried = asyncio.Event()
        """Set once opening the engine has succeeded or failed."""
        self._refusal = ""
        self._stopping = False
        self._reported: set[str] = set()
        """Models whose readiness was reported."""
        self._report()

    async def watch(self) -> None:
        """Returns once the engine has opened or is unavailable."""
        opening = asyncio.create_task(self._open(), name="open engine")
        try:
            await self._models.looked.wait()
            self._report()
            await opening
        finally:
            opening.cancel()

    async def _open(self) -> None:
        """Opens the engine. Calls retry one that is unavailable."""
        while True:
            self._refusal = await self._refused()
            self._tried.set()
            self._report()
            if not self._refusal:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _refused(self) -> str:
        """The reason why the engine refuses this gateway; empty if it does not."""
        opening = asyncio.create_task(self._engine.open())
        opening.add_done_callback(log_failure)
        try:
            done, _ = await asyncio.wait({opening}, timeout=OPEN_SECONDS)
            if not done:
                self._tried.set()
                self._report()
                await asyncio.wait({opening})
        finally:
            opening.cancel()
        refusal = opening.exception()
        return refusal.message if isinstance(refusal, StorageRefused) else ""

    async def begun(self) -> None:
        """Waits until the gateway has looked for models, and opening the engine has succeeded or failed."""
        await asyncio.gather(self._models.looked.wait(), self._tried.wait())
        self._report()

    def shut_down(self) -> None:
        """Reports NOT_SERVING for everything, for good."""
        self._stopping = True
        self._health.shut_down()

    def unready(self) -> str:
        """Why the gateway is not ready; empty if it is ready."""
        if self._stopping:
            return "shutting down"
        if self._refusal:
            return f"the index refuses this gateway: {self._refusal}"
        if not self._models.looked.is_set():
            return "the gateway has not looked for models yet"
        return "opening the index" if self._remote and not self._tried.is_set() else ""

    async def report_models(self) -> None:
        """Reports the readiness of each model that Triton lists under its own name."""
        readiness = self._models.readiness()
        for name in self._reported - readiness.keys():
            self._health.forget(MODEL_SERVICE + name)
        for name, ready in readiness.items():
            self._health.set(MODEL_SERVICE + name, ready)
        self._reported = set(readiness)

    def _report(self) -> None:
        ready = not self.unready()
        for name in self._names:
            self._health.set(name, ready)


def log_failure(opening: asyncio.Task[None]) -> None:
    """Logs why an engine did not open."""
    error = None if opening.cancelled() else opening.exception()
    if isinstance(error, ClipserveError):
        log.error("%s", error.logged)
    elif error is not None:
        log.error("the index could not be opened", exc_info=error)
