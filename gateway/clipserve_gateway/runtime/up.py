"""`clipserve-gateway up`: Triton and the gateway together, one line for each step."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import click

from clipserve_gateway.access.files import BadFile
from clipserve_gateway.lifecycle import stop_on_signals
from clipserve_gateway.runtime.install import TritonMissing, find_install
from clipserve_gateway.runtime.triton_process import TritonFailed, TritonPorts, TritonProcess
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings

READY_SECONDS = 180.0
"""How long loading the models may take."""


def say(text: str) -> None:
    """One line for people, on standard error."""
    click.echo(text, err=True)


async def run_up(
    settings: Settings, repository: Path, models_env: Path, ports: TritonPorts, log: Path | None
) -> int:
    """Runs both until SIGINT or SIGTERM, or until Triton ends; the process's exit code."""
    stop = stop_on_signals()
    try:
        triton = TritonProcess(find_install(models_env), repository, ports, log)
    except TritonMissing as error:
        say(f"clipserve-gateway: {error}")
        return 1
    try:
        return await run_both(settings, triton, stop)
    except (TritonFailed, BadFile, PortTaken) as error:
        say(f"clipserve-gateway: {error}")
        return 1
    finally:
        await triton.stop()


async def run_both(settings: Settings, triton: TritonProcess, stop: asyncio.Event) -> int:
    """Starts both, waits until they are ready, and until they shall stop."""
    begin = time.monotonic()
    await triton.start()
    say(f"· Triton (pid {triton.pid}) loads its models; its log: {triton.log}")
    gateway = Gateway(settings)
    await gateway.start()
    stopping = asyncio.create_task(stop.wait())
    ended = asyncio.create_task(triton.wait())
    try:
        await until_ready(gateway, triton, stopping, ended)
        if not stopping.done():
            announce(gateway, triton, time.monotonic() - begin)
        await asyncio.wait((stopping, ended), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise has_ended(triton, ended)
        say("· stopping")
    finally:
        stopping.cancel()
        # On one machine there are no endpoints that must notice first.
        await gateway.stop(drain_seconds=0, grace_seconds=settings.grace_seconds)
        await triton.stop()
        ended.cancel()
    say("✓ stopped")
    return 0


async def until_ready(
    gateway: Gateway, triton: TritonProcess, stopping: asyncio.Task[bool], ended: asyncio.Task[int]
) -> None:
    """Waits for the first model; TritonFailed, with its last words, if none comes."""
    deadline = time.monotonic() + READY_SECONDS
    while not gateway.models.ready() and not stopping.done():
        if ended.done():
            raise has_ended(triton, ended)
        if time.monotonic() > deadline:
            raise TritonFailed(
                f"no model was ready after {READY_SECONDS:.0f} s; Triton's last words:\n{triton.last_words()}"
            )
        await asyncio.sleep(0.2)
        await gateway.models.refresh()


def has_ended(triton: TritonProcess, ended: asyncio.Task[int]) -> TritonFailed:
    """What to say of a Triton that is no more."""
    return TritonFailed(f"Triton ended with code {ended.result()}; its last words:\n{triton.last_words()}")


def announce(gateway: Gateway, triton: TritonProcess, seconds: float) -> None:
    """Says what is served, and where."""
    host, ports = gateway.settings.host, triton.ports
    for spec, _ in gateway.models.all():
        say(f"✓ model {spec.name}: {spec.architecture}, {spec.precision}, {spec.fingerprint[:12]}…")
    say(f"✓ Triton on 127.0.0.1: gRPC {ports.grpc}, HTTP {ports.http}, metrics {ports.metrics}")
    say(
        f"✓ gateway on {host}:{gateway.port}, {gateway.security.words}, "
        f"metrics on http://{host}:{gateway.http_port}/metrics"
    )
    say(f"✓ ready after {seconds:.1f} s; Ctrl-C stops")
