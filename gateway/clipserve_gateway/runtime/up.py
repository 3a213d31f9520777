"""`clipserve-gateway up`: Tritons and the gateway together, one line for each step."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from clipserve_gateway.access.files import BadFile
from clipserve_gateway.guard.judgement import Look
from clipserve_gateway.guard.look import look_at
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.lifecycle import tend_memory
from clipserve_gateway.runtime.install import TritonMissing, find_install
from clipserve_gateway.runtime.supervisor import Supervisor
from clipserve_gateway.runtime.triton_process import TritonFailed, TritonPorts, TritonProcess
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings
from clipserve_gateway.signals import stop_on_signals
from clipserve_gateway.triton import TritonEncoder


def say(text: str) -> None:
    """One line for people, on standard error."""
    click.echo(text, err=True)


async def run_up(
    settings: Settings,
    guard: GuardSettings,
    repository: Path,
    models_env: Path,
    ports: Sequence[TritonPorts],
    log: Path | None,
) -> int:
    """Runs a Triton on each of `ports`, and the gateway, until SIGINT or SIGTERM; the process's exit code.

    A Triton that fails later is started again; one that never gets ready ends all.
    """
    stop = stop_on_signals()
    try:
        install = find_install(models_env)
    except TritonMissing as error:
        say(f"clipserve-gateway: {error}")
        return 1
    logs = [
        log and (log.with_name(f"{log.name}.{number}") if number else log) for number in range(len(ports))
    ]
    tritons = [TritonProcess(install, repository, *each) for each in zip(ports, logs, strict=True)]
    try:
        await run_all(settings, guard, tritons, stop)
    except (TritonFailed, BadFile, PortTaken) as error:
        say(f"clipserve-gateway: {error}")
        return 1
    finally:
        await asyncio.gather(*(triton.stop() for triton in tritons))
    say("✓ stopped")
    return 0


async def run_all(
    settings: Settings, guard: GuardSettings, tritons: Sequence[TritonProcess], stop: asyncio.Event
) -> None:
    """Starts all, waits until they are ready, and until they shall stop. The Tritons are left running."""
    begin = time.monotonic()
    gateway = Gateway(settings)
    await gateway.start()
    connections = [TritonEncoder(triton.address, settings.triton_headers) for triton in tritons]
    looks = [
        functools.partial(look, gateway, it.address, to, guard.canary_timeout_seconds)
        for it, to in zip(tritons, connections, strict=True)
    ]
    supervisors = [Supervisor(*each, guard, say=say) for each in zip(tritons, looks, strict=True)]
    tasks: list[asyncio.Task] = [asyncio.create_task(supervisor.run()) for supervisor in supervisors]
    tasks += [asyncio.create_task(tend_memory(gateway)), asyncio.create_task(stop.wait())]
    try:
        if await ready(gateway, supervisors, tasks, begin + guard.startup_seconds):
            announce(gateway, tritons, time.monotonic() - begin)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        say("· stopping")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # On one machine there are no endpoints that must notice first.
        await gateway.stop(drain_seconds=0, grace_seconds=settings.grace_seconds)
        await asyncio.gather(*(connection.close() for connection in connections))


async def look(
    gateway: Gateway, address: str, connection: TritonEncoder, seconds: float, proved: Collection[str]
) -> Look:
    """Looks at a Triton. The gateway asks it for known answers already: nobody need ask twice, as long as
    they are right and the model is one that was looked at since it was loaded."""
    return await look_at(
        connection,
        seconds,
        recent=lambda spec: gateway.recent(address, spec) if spec.name in proved else None,
    )


async def ready(
    gateway: Gateway, supervisors: Sequence[Supervisor], tasks: Sequence[asyncio.Task], deadline: float
) -> bool:
    """Waits until every Triton answers right and the gateway serves; false if one of the tasks ends first.

    Raises TritonFailed at the deadline, a moment on the monotonic clock.
    """
    while not (gateway.models.ready() and all(supervisor.ready for supervisor in supervisors)):
        if time.monotonic() > deadline:
            words = "; ".join(supervisor.why for supervisor in supervisors if supervisor.why)
            raise TritonFailed(f"no model was right in time: {words}")
        done, _ = await asyncio.wait(tasks, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return False
        await gateway.models.refresh()
    return True


def announce(gateway: Gateway, tritons: Sequence[TritonProcess], seconds: float) -> None:
    """Says what is served, and where."""
    host = gateway.settings.host
    for spec, _ in gateway.models.all():
        say(f"✓ model {spec.name}: {spec.architecture}, {spec.precision}, {spec.fingerprint[:12]}…")
    for triton in tritons:
        ports = triton.ports
        say(f"✓ Triton on 127.0.0.1: gRPC {ports.grpc}, HTTP {ports.http}, metrics {ports.metrics}")
    say(
        f"✓ gateway on {host}:{gateway.port}, {gateway.security.words}, "
        f"metrics on http://{host}:{gateway.http_port}/metrics"
    )
    say(f"✓ ready after {seconds:.1f} s; Ctrl-C stops")
