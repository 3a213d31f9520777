"""`clipserve-gateway guard`: probes Triton every few seconds, and answers the probes of the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import click

from clipserve_gateway.guard.metrics import GuardMetrics
from clipserve_gateway.guard.probe import Probe, WatchedTriton
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import TritonHealth
from clipserve_gateway.http_server.operations import OperationsServer, loop_check
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.triton.client import TritonEncoder

log = logging.getLogger(__name__)


class Guard:
    """Watches one Triton.

    Pages: /readyz tells whether callers may be sent to this Triton. /healthz fails if Triton must be
    restarted, /alive if the guard itself hangs; then the first two keep the result of the last probe.
    """

    def __init__(self, settings: GuardSettings, triton: WatchedTriton) -> None:
        self._health = TritonHealth(settings)
        self._metrics = GuardMetrics()
        self._probe = Probe(triton, settings.canary_timeout_seconds, self._metrics.count_run)
        checks = {
            "/readyz": lambda: "" if self._health.ready else self._health.why or "not ready",
            "/healthz": lambda: "" if self._health.alive else self._health.why or "not alive",
            "/alive": loop_check(asyncio.get_running_loop()),
        }
        self.http = OperationsServer(settings.host, settings.http_port, self._metrics.registry, checks)

    async def watch(self) -> None:
        """Probes forever."""
        health = self._health
        while True:
            result = await self._probe.run()
            was_ready, was_alive = health.ready, health.alive
            for change in health.update(result, time.monotonic()):
                fine = change.good or change.waits
                log.log(logging.INFO if fine else logging.ERROR, "%s", change.text)
            self._metrics.set_models(health.models)
            if health.ready and not was_ready:
                log.info("Triton is ready")
            elif was_ready and not health.ready:
                log.error("Triton is not ready: %s", health.why)
            if was_alive and not health.alive:
                log.error("Triton must be restarted: %s", health.why)
            await asyncio.sleep(health.pause)


async def guard_until_signal(settings: GuardSettings) -> int:
    """Runs a guard until SIGINT or SIGTERM; returns the exit code."""
    stop = stop_on_signals()
    triton = TritonEncoder(settings.triton, settings.triton_headers)
    try:
        guard = Guard(settings, triton)
    except OSError as error:
        address = f"{settings.host}:{settings.http_port}"
        click.echo(f"clipserve-gateway: cannot listen on {address} ({error.strerror})", err=True)
        return 1
    guard.http.start()
    log.info("watching Triton at %s, probes on %s:%d", settings.triton, settings.host, guard.http.port)
    watching = asyncio.create_task(guard.watch())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        # Raises if the watch has failed: the process ends and is restarted.
        await watching
    await asyncio.to_thread(guard.http.stop)
    await triton.close()
    return 0
