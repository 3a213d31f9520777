"""From start to signal to stop."""

from __future__ import annotations

import asyncio

import click

from clipserve_gateway.access.files import BadFile
from clipserve_gateway.memory import freeze_what_stays, give_back_freed
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings
from clipserve_gateway.signals import stop_on_signals
from clipserve_gateway.threads import use_named_workers


async def serve_until_signal(settings: Settings) -> int:
    """Runs a gateway until SIGINT or SIGTERM; the process's exit code."""
    stop = stop_on_signals()
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
    freeze_what_stays()
    await give_back_freed()
