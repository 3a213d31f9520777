"""`clipserve-gateway up`: Tritons and the gateway together, one line for each step."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import click

from clipserve_gateway.guard.probe import look_at
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.guard.triton_health import Look
from clipserve_gateway.lifecycle import tend_memory, use_few_engine_threads
from clipserve_gateway.listening import taken_ports
from clipserve_gateway.local.data_folder import DataUnusable, check_data
from clipserve_gateway.local.install import TritonInstall, TritonMissing, find_install
from clipserve_gateway.local.model_folder import RepositoryUnsafe, check_repository
from clipserve_gateway.local.ports import PortInUse, free_ports
from clipserve_gateway.local.run_folder import NoPlainFolder, temporary_folder
from clipserve_gateway.local.supervisor import Supervisor
from clipserve_gateway.local.triton_log import choose_log
from clipserve_gateway.local.triton_process import TritonFailed, TritonPorts, TritonProcess
from clipserve_gateway.process.listeners import holder, taken
from clipserve_gateway.process.safe_text import safe_lines
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.process.threads import use_named_workers
from clipserve_gateway.process.watched_files import BadFile
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings, host_environment
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.model_versions import ModelVersions
from clipserve_gateway.triton.old_versions import remove_old_versions
from clipserve_gateway.types import ModelSpec

TRIES = 3
"""Starts on ports that are chosen here, where others take them."""
FAILURES = (
    *(TritonMissing, DataUnusable, RepositoryUnsafe, NoPlainFolder),
    *(PortInUse, TritonFailed, BadFile, PortTaken),
)
"""Of a start; their messages are for people."""
OPTIONS = ("--triton-port", "--triton-http-port", "--triton-metrics-port")


def say(text: str) -> None:
    """Lines for people, on standard error. They may quote model names and Triton's log: those are escaped."""
    click.echo(safe_lines(text), err=True)


async def run_up(
    settings: Settings,
    guard: GuardSettings,
    repository: Path,
    models_env: Path,
    wanted: Sequence[TritonPorts],
    log: Path | None,
    *,
    trust_repository: bool = False,
) -> int:
    """Runs a Triton on each of the wanted ports, and the gateway, until SIGINT or SIGTERM.

    Returns the process's exit code. A port 0 means a free one; if another process takes it before Triton
    listens on it, others are chosen. A Triton that fails later is started again; one that never gets ready
    ends all.
    """
    stop = stop_on_signals()
    use_few_engine_threads(settings.data)
    use_named_workers(asyncio.get_running_loop())
    try:
        install = await asyncio.to_thread(find_install, models_env)
        await asyncio.to_thread(check_data, settings.data)
        await asyncio.to_thread(check_repository, repository, trusted=trust_repository)
        for tries_left in reversed(range(TRIES)):
            ports = choose(wanted, settings)
            try:
                await run_on(settings, guard, install, repository, ports, log, stop)
                break
            except TritonFailed as error:
                port = error.diagnosis.port if error.diagnosis else 0
                if port and names(wanted, port):
                    sentence = taken(port, names(wanted, port))
                    raise TritonFailed(f"Triton's {sentence}") from error
                if not port or not tries_left:
                    raise
                say(
                    f"· port {port} was taken meanwhile by {holder(port)}; Triton starts again on other ports"
                )
    except FAILURES as error:
        say(f"clipserve-gateway: {error}")
        return 1
    say("✓ stopped")
    return 0


def choose(wanted: Sequence[TritonPorts], settings: Settings) -> list[TritonPorts]:
    """Triton's ports as wanted, with a free one for each 0.

    PortInUse if one that was given is taken; it names the gateway's own ports that are taken as well.
    """
    flat = [port for each in wanted for port in (each.grpc, each.http, each.metrics)]
    try:
        found = free_ports(*flat, options=OPTIONS)
    except PortInUse as error:
        raise PortInUse(*(f"Triton's {it}" for it in error.problems), *taken_ports(settings)) from error
    return [TritonPorts(*found[first : first + 3]) for first in range(0, len(found), 3)]


def names(wanted: Sequence[TritonPorts], port: int) -> str:
    """The option that a port was given by; empty if it was not given."""
    given = (wanted[0].grpc, wanted[0].http, wanted[0].metrics)
    return dict(zip(given, OPTIONS, strict=True)).get(port, "")


async def run_on(
    settings: Settings,
    guard: GuardSettings,
    install: TritonInstall,
    repository: Path,
    ports: Sequence[TritonPorts],
    log: Path | None,
    stop: asyncio.Event,
) -> None:
    """Runs all on these ports, and ends the Tritons in the end. Raises as run_all does, and NoPlainFolder."""
    addresses = ",".join(f"127.0.0.1:{each.grpc}" for each in ports)
    tritons: list[TritonProcess] = []
    try:
        for number, each in enumerate(ports):
            folder = temporary_folder(host_environment())
            tritons.append(
                TritonProcess(install, repository, each, folder, choose_log(log, settings.data, number))
            )
        await run_all(settings.model_copy(update={"triton": addresses}), guard, tritons, stop, repository)
    except TritonFailed:
        # A Triton that hangs does not heed SIGTERM, and nothing is in flight that could finish.
        await asyncio.gather(*(triton.kill() for triton in tritons))
        raise
    finally:
        await asyncio.gather(*(triton.stop() for triton in tritons))


async def run_all(
    settings: Settings,
    guard: GuardSettings,
    tritons: Sequence[TritonProcess],
    stop: asyncio.Event,
    repository: Path | None = None,
) -> None:
    """Starts all, waits until they are ready, and until they shall stop. The Tritons are left running.

    Old versions leave the repository, if one is named.
    """
    with contextlib.ExitStack() as quiet:
        quiet.enter_context(expecting_triton())
        await run_quietly(settings, guard, tritons, stop, quiet, repository)


async def run_quietly(
    settings: Settings,
    guard: GuardSettings,
    tritons: Sequence[TritonProcess],
    stop: asyncio.Event,
    quiet: contextlib.ExitStack,
    repository: Path | None = None,
) -> None:
    """Does what run_all does; `quiet` is closed once all is ready, and stays open if the start fails."""
    begin = time.monotonic()
    gateway = Gateway(settings)
    await gateway.start()
    connections = [TritonEncoder(triton.address, settings.triton_headers) for triton in tritons]
    looks = [
        functools.partial(look, gateway, it.address, to, guard.canary_timeout_seconds, ModelVersions())
        for it, to in zip(tritons, connections, strict=True)
    ]
    supervisors = [Supervisor(*each, guard, say=say) for each in zip(tritons, looks, strict=True)]
    tasks: list[asyncio.Task] = [asyncio.create_task(supervisor.run()) for supervisor in supervisors]
    tasks += [asyncio.create_task(tend_memory(gateway)), asyncio.create_task(stop.wait())]
    if repository is not None:
        in_service = functools.partial(right_everywhere, gateway, [it.address for it in tritons])
        tasks.append(asyncio.create_task(remove_old_versions(repository, in_service)))
    try:
        if await ready(gateway, supervisors, tasks, begin + guard.startup_seconds):
            quiet.close()
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


def right_everywhere(gateway: Gateway, addresses: Sequence[str]) -> list[ModelSpec]:
    """The models, in the version in service, that have answered right on every Triton a moment ago."""
    ready = [spec for spec, up in gateway.models.all() if up]
    return [spec for spec in ready if all(gateway.recent(address, spec) for address in addresses)]


@contextlib.contextmanager
def expecting_triton() -> Iterator[None]:
    """Keeps quiet what the gateway misses while Triton begins: the supervisor tells what is wrong."""
    loggers = [logging.getLogger(f"clipserve_gateway.{name}") for name in ("replica", "models")]
    levels = [each.level for each in loggers]
    try:
        for each in loggers:
            # Who has asked for the log of calls is told everything.
            each.setLevel(each.level if each.isEnabledFor(logging.INFO) else logging.CRITICAL)
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


async def look(
    gateway: Gateway,
    address: str,
    connection: TritonEncoder,
    seconds: float,
    versions: ModelVersions,
    proved: Collection[str],
) -> Look:
    """Looks at a Triton. The gateway asks it for known answers already: nobody need ask twice, as long as
    they are right and the model is one that was looked at since it was loaded."""
    return await look_at(
        connection,
        seconds,
        recent=lambda spec: gateway.recent(address, spec) if spec.name in proved else None,
        versions=versions,
    )


async def ready(
    gateway: Gateway, supervisors: Sequence[Supervisor], tasks: Sequence[asyncio.Task], deadline: float
) -> bool:
    """Waits until every Triton answers right and the gateway serves; false if one of the tasks ends first.

    Raises TritonFailed at the deadline, a moment on the monotonic clock.
    """
    while not (gateway.models.ready() and all(supervisor.ready for supervisor in supervisors)):
        if time.monotonic() > deadline:
            raise next((it for it in supervisors if not it.ready), supervisors[0]).failed()
        done, _ = await asyncio.wait(tasks, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return False
        await gateway.models.refresh()
    return True


def announce(gateway: Gateway, tritons: Sequence[TritonProcess], seconds: float) -> None:
    """Says what is served, and where."""
    host = gateway.settings.host
    http = gateway.settings.http_host or host
    for spec, _ in gateway.models.all():
        say(f"✓ model {spec.name}: {spec.architecture}, {spec.precision}, {spec.fingerprint[:12]}…")
    for triton in tritons:
        ports = triton.ports
        say(f"✓ Triton on 127.0.0.1: gRPC {ports.grpc}, HTTP {ports.http}, metrics {ports.metrics}")
    say(
        f"✓ gateway on {host}:{gateway.port}, {gateway.security.words}, "
        f"metrics on http://{http}:{gateway.http_port}/metrics"
    )
    say(f"✓ ready after {seconds:.1f} s; Ctrl-C stops")
