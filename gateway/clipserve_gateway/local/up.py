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

from clipserve_gateway.guard.probe import Probe, ProbeResult
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.lifecycle import manage_memory, use_few_engine_threads
from clipserve_gateway.listening import taken_ports
from clipserve_gateway.local.command import TritonPorts
from clipserve_gateway.local.data_folder import DataUnusable, check_data
from clipserve_gateway.local.install import TritonInstall, TritonMissing, find_install
from clipserve_gateway.local.model_export import ExportFailed, ModelOrder, export_model
from clipserve_gateway.local.model_folder import RepositoryUnsafe, check_repository
from clipserve_gateway.local.ports import PortInUse, free_ports
from clipserve_gateway.local.run_folder import NoPlainFolder, temporary_folder
from clipserve_gateway.local.supervisor import Supervisor
from clipserve_gateway.local.triton_log import choose_log
from clipserve_gateway.local.triton_process import TritonFailed, TritonProcess
from clipserve_gateway.process.listeners import holder, taken
from clipserve_gateway.process.safe_text import safe_lines
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.process.threads import use_named_workers
from clipserve_gateway.process.watched_files import BadFile
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings, host_environment
from clipserve_gateway.triton.client import TritonEncoder
from clipserve_gateway.triton.old_versions import remove_old_versions
from clipserve_gateway.types import ModelSpec

PORT_ATTEMPTS = 3
"""Starts with free ports that this module chose, if other processes take them before Triton listens."""
FAILURES = (
    *(TritonMissing, DataUnusable, RepositoryUnsafe, NoPlainFolder, ExportFailed),
    *(PortInUse, TritonFailed, BadFile, PortTaken),
)
"""Reasons why a start fails; their messages are written for users."""
OPTIONS = ("--triton-port", "--triton-http-port", "--triton-metrics-port")
QUIET_LOGGERS = tuple(f"clipserve_gateway.triton.{name}" for name in ("breaker", "models", "replica"))
"""They report a Triton that does not answer."""


def say(text: str) -> None:
    """Prints lines for the user on standard error. Control characters are escaped: lines may quote model
    names and Triton's log."""
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
    order: ModelOrder | None = None,
) -> int:
    """Exports the ordered model, and runs a Triton for each of the wanted ports and the gateway.

    Ends at SIGINT or SIGTERM, and returns the exit code. A port 0 means a free one; if another process takes
    it before Triton listens on it, Triton starts again on other ports. A Triton that fails later is started
    again; one that never becomes ready ends the whole service.
    """
    stop = stop_on_signals()
    use_few_engine_threads(settings.data)
    use_named_workers(asyncio.get_running_loop())
    try:
        install = await asyncio.to_thread(find_install, models_env)
        await asyncio.to_thread(check_data, settings.data)
        if order is not None and not await export_model(order, models_env, repository, stop):
            say("✓ stopped")
            return 0
        await asyncio.to_thread(check_repository, repository, trusted=trust_repository)
        for attempts_left in reversed(range(PORT_ATTEMPTS)):
            ports = choose_ports(wanted, settings)
            try:
                await run_on(settings, guard, install, repository, ports, log, stop)
                break
            except TritonFailed as error:
                port = error.diagnosis.port if error.diagnosis else 0
                if port and (option := option_of(wanted, port)):
                    raise TritonFailed(f"Triton's {taken(port, option)}") from error
                if not port or not attempts_left:
                    raise
                owner = holder(port)
                say(f"· port {port} was taken meanwhile by {owner}; Triton starts again on other ports")
    except FAILURES as error:
        say(f"clipserve-gateway: {error}")
        return 1
    say("✓ stopped")
    return 0


def choose_ports(wanted: Sequence[TritonPorts], settings: Settings) -> list[TritonPorts]:
    """The wanted ports, with a free one for each 0.

    Raises PortInUse if a given port is taken; its text also names the gateway's own ports that are taken.
    """
    flat = [port for ports in wanted for port in ports]
    try:
        chosen = free_ports(*flat, options=OPTIONS)
    except PortInUse as error:
        problems = [f"Triton's {problem}" for problem in error.problems]
        raise PortInUse(*problems, *taken_ports(settings)) from error
    return [TritonPorts(*chosen[first : first + 3]) for first in range(0, len(chosen), 3)]


def option_of(wanted: Sequence[TritonPorts], port: int) -> str:
    """The command-line option that gave a port; empty if none did."""
    return dict(zip(wanted[0], OPTIONS, strict=True)).get(port, "")


async def run_on(
    settings: Settings,
    guard: GuardSettings,
    install: TritonInstall,
    repository: Path,
    ports: Sequence[TritonPorts],
    log: Path | None,
    stop: asyncio.Event,
) -> None:
    """Runs the Tritons on these ports, and the gateway, until `stop` is set. Raises FAILURES."""
    tritons: list[TritonProcess] = []
    try:
        for number, each in enumerate(ports):
            folder = temporary_folder(host_environment())
            triton_log = choose_log(log, settings.data, number)
            tritons.append(TritonProcess(install, repository, each, folder, triton_log))
        await serve(settings, guard, tritons, stop, repository)
    except TritonFailed:
        # No call is under way, and a Triton that hangs ignores SIGTERM.
        await asyncio.gather(*(triton.kill() for triton in tritons))
        raise
    finally:
        await asyncio.gather(*(triton.stop() for triton in tritons))


async def serve(
    settings: Settings,
    guard: GuardSettings,
    tritons: Sequence[TritonProcess],
    stop: asyncio.Event,
    repository: Path,
) -> None:
    """Starts the gateway and the Tritons, and serves until `stop` is set. Leaves the Tritons running.

    Removes old versions of models from the repository.
    """
    begin, addresses = time.monotonic(), [triton.address for triton in tritons]
    with contextlib.ExitStack() as quiet:
        # Closed when all is ready; open until the end if the start fails.
        quiet.enter_context(expecting_triton())
        gateway = Gateway(settings.model_copy(update={"triton": ",".join(addresses)}))
        await gateway.start()
        connections = [TritonEncoder(address, settings.triton_headers) for address in addresses]
        supervisors = [
            supervise(gateway, triton, Probe(connection, guard.canary_timeout_seconds), guard)
            for triton, connection in zip(tritons, connections, strict=True)
        ]
        in_service = functools.partial(healthy_everywhere, gateway, addresses)
        jobs = [*(supervisor.run() for supervisor in supervisors), manage_memory(gateway), stop.wait()]
        jobs.append(remove_old_versions(repository, in_service))
        tasks: list[asyncio.Task] = [asyncio.create_task(job) for job in jobs]
        try:
            if await ready(gateway, supervisors, tasks, guard.startup_seconds):
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
            # On one machine no load balancer must first notice that the gateway stops.
            await gateway.stop(drain_seconds=0, grace_seconds=settings.grace_seconds)
            await asyncio.gather(*(connection.close() for connection in connections))


def supervise(gateway: Gateway, triton: TritonProcess, probe: Probe, guard: GuardSettings) -> Supervisor:
    """The supervisor of a Triton. Its probe reuses the results of canaries that the gateway has run, for
    models that a probe has found right since they were loaded."""

    async def run_probe(healthy: Collection[str]) -> ProbeResult:
        return await probe.run(
            lambda spec: gateway.reusable_result(triton.address, spec) if spec.name in healthy else None
        )

    return Supervisor(triton, run_probe, guard, say=say)


def healthy_everywhere(gateway: Gateway, addresses: Sequence[str]) -> list[ModelSpec]:
    """The models in service, in their current version, that were right on every Triton a moment ago."""
    ready = [spec for spec, up in gateway.models.all() if up]
    return [spec for spec in ready if all(gateway.reusable_result(address, spec) for address in addresses)]


@contextlib.contextmanager
def expecting_triton() -> Iterator[None]:
    """Hides the gateway's warnings about a missing Triton: the supervisor reports what is wrong.

    Shows them if the user asked for a log level of INFO or lower.
    """
    loggers = [logging.getLogger(name) for name in QUIET_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            if not logger.isEnabledFor(logging.INFO):
                logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


async def ready(
    gateway: Gateway, supervisors: Sequence[Supervisor], tasks: Sequence[asyncio.Task], seconds: float
) -> bool:
    """Waits until every Triton is ready and the gateway has a model; false if one of the tasks ends first.

    A supervisor ends if its Triton makes no progress. Raises TritonFailed if the gateway has no model
    `seconds` after all Tritons were ready.
    """
    ready_at: float | None = None
    while True:
        served = all(supervisor.ready for supervisor in supervisors)
        if served and gateway.models.ready():
            return True
        ready_at = (ready_at or time.monotonic()) if served else None
        if ready_at is not None and time.monotonic() - ready_at > seconds:
            raise supervisors[0].failed()
        done, _ = await asyncio.wait(tasks, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return False
        await gateway.models.refresh()


def announce(gateway: Gateway, tritons: Sequence[TritonProcess], seconds: float) -> None:
    """Prints the models and the addresses of the service."""
    host = gateway.settings.host
    http = gateway.settings.http_host or host
    for spec, _ in gateway.models.all():
        precision = f"{spec.precision} on {spec.device}" if spec.device else spec.precision
        say(f"✓ model {spec.name}: {spec.architecture}, {precision}, {spec.fingerprint[:12]}…")
    for reason in gateway.models.refused.values():
        # Its warning was hidden during the start.
        say(f"✗ {reason}")
    for triton in tritons:
        ports = triton.ports
        say(f"✓ Triton on 127.0.0.1: gRPC {ports.grpc}, HTTP {ports.http}, metrics {ports.metrics}")
    say(
        f"✓ gateway on {host}:{gateway.port}, {gateway.security.words}, "
        f"metrics on http://{http}:{gateway.http_port}/metrics"
    )
    if gateway.api_address:
        say(f"✓ HTTP API on {gateway.api_address}")
        if gateway.settings.web:
            say(f"✓ open {gateway.api_address}/ in a browser to try it")
    say(f"✓ ready after {seconds:.1f} s; Ctrl-C stops")
