"""From start to signal to stop."""

from __future__ import annotations

import asyncio

import click

from clipserve_gateway.process.cores import available_cores
from clipserve_gateway.process.memory import freeze_objects, trim_memory
from clipserve_gateway.process.signals import stop_on_signals
from clipserve_gateway.process.threads import use_named_workers
from clipserve_gateway.process.watched_files import BadFile
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings, change_environment, host_environment

ENGINE_READS = "LANCE_IO_THREADS"
"""LanceDB's variable: how many pieces of files it reads at a time for one piece of work."""
MOST_ENGINE_READS = 8
"""LanceDB's own number."""


def use_few_engine_threads(data: str) -> None:
    """Keeps the engine's threads few: it has one for each read under way. To be called before it is loaded.

    The engine keeps as many threads as it ever needed at once, as long as there is work for a few. Under
    mixed load on two cores it had 40 and 25 of its two kinds after a minute, and more after each maintenance;
    with two reads at a time 20 and 11. Searches take as long. Object storage needs many reads at a time.
    """
    if "://" not in data and ENGINE_READS not in host_environment():
        change_environment(**{ENGINE_READS: str(min(MOST_ENGINE_READS, max(2, available_cores())))})


async def serve_until_signal(settings: Settings) -> int:
    """Runs a gateway until SIGINT or SIGTERM; the process's exit code."""
    stop = stop_on_signals()
    use_few_engine_threads(settings.data)
    use_named_workers(asyncio.get_running_loop())
    try:
        gateway = Gateway(settings)
        await gateway.start()
    except (BadFile, PortTaken) as error:
        click.echo(f"clipserve-gateway: {error}", err=True)
        return 1
    tending = asyncio.create_task(tend_memory(gateway))
    await stop.wait()
    tending.cancel()
    await gateway.stop(drain_seconds=settings.drain_seconds, grace_seconds=settings.grace_seconds)
    return 0


async def tend_memory(gateway: Gateway) -> None:
    """Keeps what is loaded at the start out of garbage collection, and what is freed out of this process."""
    await gateway.begun()
    freeze_objects()
    await trim_memory()
