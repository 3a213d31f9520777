"""One gateway: starts its parts, drains calls, and stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clipserve_gateway.assembly import assemble
from clipserve_gateway.http_adapter.app import api_app
from clipserve_gateway.http_server.operations import OperationsServer, loop_check
from clipserve_gateway.http_server.server import WebServer
from clipserve_gateway.listening import PortTaken, listen_api, listen_grpc, listen_operations
from clipserve_gateway.settings import Settings
from clipserve_gateway.triton.replica_pool import ReplicaPool

__all__ = ["Gateway", "PortTaken"]

log = logging.getLogger(__name__)

LEAVE_SECONDS = 1.0
"""Time for connections to end by themselves after the last call."""


class Gateway:
    """Serves until it is stopped. Belongs to the event loop on which it is created."""

    def __init__(self, settings: Settings, backend: ReplicaPool | None = None) -> None:
        """Raises BadFile. `backend` stands in for the replicas of Triton, in tests."""
        self.settings = settings
        self.parts = parts = assemble(settings, backend)
        self.metrics = parts.metrics
        self.models = parts.models
        self.security = parts.security
        self.reusable_result = parts.backend.reusable_result
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._operations: OperationsServer | None = None
        self._api: WebServer | None = None

    async def start(self) -> None:
        """Listens and begins to look for models. Does not wait for Triton. Raises PortTaken."""
        parts, loop = self.parts, asyncio.get_running_loop()
        self.port = listen_grpc(self.settings, self.security, parts.server)
        checks = {
            "/healthz": loop_check(loop, parts.decode_pool.ping),
            "/readyz": parts.readiness.unready,
        }
        self._operations = listen_operations(
            self.settings, self.metrics.registry, checks, {"/models": parts.models.status}
        )
        if self.settings.api_port is not None:
            self._api = listen_api(self.settings, self.security, api_app(parts, self.settings))
        await parts.server.start()
        self._operations.start()
        if self._api is not None:
            await self._api.start()
        watches = {
            "watch event loop": parts.loop_watch.watch,
            "watch models": self.models.watch,
            "take calls": parts.readiness.watch,
            "watch slow callers": parts.intake.slow.watch,
            "watch migrations": parts.migrator.watch,
            "watch certificates and tokens": self.security.watch,
        }
        self._tasks = [asyncio.create_task(watch(), name=name) for name, watch in watches.items()]
        address = f"{self.settings.host}:{self.port}, {self.security.words}"
        log.info("listening on %s, metrics on port %d", address, self._operations.port)
        if self._api is not None:
            log.info("HTTP API on %s", self.api_address)
        self.security.warn()

    async def begun(self) -> None:
        """Waits until models have been looked for, and until opening the engine has succeeded or failed."""
        await self.parts.readiness.begun()

    @property
    def http_port(self) -> int:
        """Port of operations; 0 before the start."""
        return self._operations.port if self._operations else 0

    @property
    def api_port(self) -> int:
        """Port of the API over HTTP; 0 before the start, and if it is off."""
        return self._api.port if self._api else 0

    @property
    def api_address(self) -> str:
        """URL of the API over HTTP; empty if it is off."""
        if self._api is None:
            return ""
        scheme = "http" if self.security.tls is None else "https"
        return f"{scheme}://{self.settings.api_host or self.settings.host}:{self._api.port}"

    async def stop(self, *, drain_seconds: float, grace_seconds: float) -> None:
        """Reports NOT_SERVING, waits `drain_seconds`, lets calls finish for `grace_seconds`, closes all.

        New calls are served while load balancers notice. No acknowledged write is lost.
        """
        parts = self.parts
        parts.readiness.shut_down()
        await asyncio.sleep(drain_seconds)
        stopping = [self._stop_grpc(grace_seconds)]
        if self._api is not None:
            stopping.append(self._api.stop(grace_seconds))
        await asyncio.gather(*stopping)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await parts.first_model.close()
        await parts.migrator.close()
        await parts.statistics.close()
        await parts.catalog.close()
        await parts.engine.close()
        parts.decode_pool.close()
        await parts.backend.close()
        if self._operations is not None:
            await asyncio.to_thread(self._operations.stop)
        parts.audit.close()
        log.info("stopped")

    async def _stop_grpc(self, grace_seconds: float) -> None:
        """Stops the server once calls have ended. Callers of health that read no answer delay nothing."""
        server = self.parts.server
        stopping = asyncio.create_task(server.stop(grace_seconds))
        done = asyncio.create_task(self.parts.under_way.none())
        # The server accepts no calls from here on. Clients learn of it before their health watches end.
        await asyncio.wait({stopping}, timeout=0.05)
        self.parts.health.close()
        await asyncio.wait({stopping, done}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({stopping}, timeout=LEAVE_SECONDS)
        done.cancel()
        await server.stop(None)
        await stopping
