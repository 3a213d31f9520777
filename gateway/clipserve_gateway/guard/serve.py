"""`clipserve-gateway guard`: looks at Triton every few seconds, and answers the kubelet's probes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import click

from clipserve_gateway.guard.metrics import GuardMetrics
from clipserve_gateway.guard.probe import Connection, look_at
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import Judgement
from clipserve_gateway.process.http import HttpServer, loop_check
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.model_versions import ModelVersions

log = logging.getLogger(__name__)


class Guard:
    """Watches one Triton.

    Pages: /readyz, whether callers belong here; /healthz, whether Triton may live on; /alive, whether the
    guard itself works. The first two keep what the last look found, should the guard get stuck.
    """

    def __init__(self, settings: GuardSettings, triton: Connection) -> None:
        self._settings = settings
        self._triton = triton
        self._judgement = Judgement(settings)
        self._versions = ModelVersions()
        self._metrics = GuardMetrics()
        checks = {
            "/readyz": self._unready,
            "/healthz": self._dead,
            "/alive": loop_check(asyncio.get_running_loop()),
        }
        self.http = HttpServer(settings.host, settings.http_port, self._metrics.registry, checks)

    async def watch(self) -> None:
        """Looks for ever."""
        while True:
            look = await look_at(
                self._triton,
                self._settings.canary_timeout_seconds,
                self._metrics.examined,
                versions=self._versions,
            )
            was_ready, was_alive = self._judgement.ready, self._judgement.alive
            for change in self._judgement.judge(look, time.monotonic()):
                fine = change.good or change.waits
                log.log(logging.INFO if fine else logging.ERROR, "%s", change.text)
            self._metrics.judged(self._judgement.models)
            self._tell(was_ready, was_alive)
            await asyncio.sleep(self._judgement.pause)

    def _tell(self, was_ready: bool, was_alive: bool) -> None:
        judgement = self._judgement
        if judgement.ready and not was_ready:
            log.info("Triton is ready")
        elif was_ready and not judgement.ready:
            log.error("Triton is not ready: %s", judgement.why)
        if was_alive and not judgement.alive:
            log.error("Triton shall be restarted: %s", judgement.why)

    def _unready(self) -> str:
        return "" if self._judgement.ready else self._judgement.why or "not ready"

    def _dead(self) -> str:
        return "" if self._judgement.alive else self._judgement.why or "not alive"


async def guard_until_signal(settings: GuardSettings) -> int:
    """Watches until SIGINT or SIGTERM; the process's exit code."""
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
        # A watch that broke down ends the process: whoever restarts it gets one that looks again.
        await watching
    await asyncio.to_thread(guard.http.stop)
    await triton.close()
    return 0
