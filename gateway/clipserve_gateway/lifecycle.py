"""Runs one gateway process: start, signal, stop."""

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
"""Environment variable of LanceDB: reads in progress at a time for one operation."""
MOST_ENGINE_READS = 8
"""The default of LanceDB."""


def use_few_engine_threads(data: str) -> None:
    """Limits the threads of LanceDB, which keeps one for each read in progress. Call it before its import.

    LanceDB keeps as many threads as it ever needed at once while there is work for some of them. Under mixed
    load on two cores it had 40 and 25 threads of its two kinds after a minute; with two reads at a time 20
    and 11, and searches took as long. Object storage needs many reads at a time.
    """
    if "://" not in data and ENGINE_READS not in host_environment():
        change_environment(**{ENGINE_READS: str(min(MOST_ENGINE_READS, max(2, available_cores())))})


async def serve_until_signal(settings: Settings) -> int:
    """Runs a gateway until SIGINT or SIGTERM. Returns the exit code of the process."""
    stop = stop_on_signals()
    use_few_engine_threads(settings.data)
    use_named_workers(asyncio.get_running_loop())
    try:
        gateway = Gateway(settings)
        await gateway.start()
    except (BadFile, PortTaken) as error:
        click.echo(f"clipserve-gateway: {error}", err=True)
        return 1
    memory = asyncio.create_task(manage_memory(gateway))
    await stop.wait()
    memory.cancel()
    await gateway.stop(drain_seconds=settings.drain_seconds, grace_seconds=settings.grace_seconds)
    return 0


async def manage_memory(gateway: Gateway) -> None:
    """Excludes objects of the start from garbage collection, and returns freed memory to the system."""
    await gateway.begun()
    freeze_objects()
    await trim_memory()
