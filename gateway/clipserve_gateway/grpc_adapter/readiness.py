"""Whether this gateway takes calls, and which models are served: told by grpc.health.v1 and /readyz.

What all gateways share must not make all of them unready at once: they would be left without any address,
and calls that need only the other part, or only a clear answer, would fail with the rest.
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
"""Between two attempts to open an engine that refuses this gateway."""
OPEN_SECONDS = 10.0
"""An engine that has not been opened by then counts as away."""


class Readiness:
    """Opens the engine, and says what is ready.

    The gateway takes calls once models have been looked for, whether or not one was found. An engine that
    refuses this gateway (its credentials, its rights, its release) keeps it unready, so that a rollout with a
    wrong setting stops; one that is away does not.

    Args:
        services: names of gRPC services, which are ready as the gateway is.
        remote: whether the engine is somewhere else. Then it is waited for, since others may serve meanwhile.
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
        """Set once the engine has been opened, or could not be."""
        self._refusal = ""
        self._stopping = False
        self._tell()

    async def watch(self) -> None:
        """Returns once the engine has been opened, or is away."""
        opening = asyncio.create_task(self._open(), name="open engine")
        try:
            await self._models.looked.wait()
            self._tell()
            await opening
        finally:
            opening.cancel()

    async def _open(self) -> None:
        """Opens the engine; one that is away is tried again by each call."""
        while True:
            self._refusal = await self._refused()
            self._tried.set()
            self._tell()
            if not self._refusal:
                return
            await asyncio.sleep(AGAIN_SECONDS)

    async def _refused(self) -> str:
        """Why the engine refuses this gateway; empty if it does not."""
        opening = asyncio.create_task(self._engine.open())
        opening.add_done_callback(tell)
        try:
            done, _ = await asyncio.wait({opening}, timeout=OPEN_SECONDS)
            if not done:
                self._tried.set()
                self._tell()
                await asyncio.wait({opening})
        finally:
            opening.cancel()
        refusal = opening.exception()
        return refusal.message if isinstance(refusal, StorageRefused) else ""

    async def begun(self) -> None:
        """Waits until models have been looked for and the engine has been opened, or could not be."""
        await asyncio.gather(self._models.looked.wait(), self._tried.wait())
        self._tell()

    def shut_down(self) -> None:
        """Says NOT_SERVING of all, from now on."""
        self._stopping = True
        self._health.shut_down()

    def unready(self) -> str:
        """Why no calls are taken; empty while they are."""
        if self._stopping:
            return "shutting down"
        if self._refusal:
            return f"the index refuses this gateway: {self._refusal}"
        if not self._models.looked.is_set():
            return "the inference server has not been asked yet"
        return "the index is being opened" if self._remote and not self._tried.is_set() else ""

    async def tell_models(self) -> None:
        """Tells the readiness of each model under its own name."""
        for spec, up in self._models.all():
            self._health.set(MODEL_SERVICE + spec.name, up)

    def _tell(self) -> None:
        ready = not self.unready()
        for name in self._names:
            self._health.set(name, ready)


def tell(opening: asyncio.Task[None]) -> None:
    """Logs why an engine could not be opened."""
    error = None if opening.cancelled() else opening.exception()
    if isinstance(error, ClipserveError):
        log.error("%s", error.logged)
    elif error is not None:
        log.error("the index could not be opened", exc_info=error)
