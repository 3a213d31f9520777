"""From start to signal to stop."""

from __future__ import annotations

import asyncio

import click

from clipserve_gateway.access.files import BadFile
from clipserve_gateway.memory import freeze_what_stays
from clipserve_gateway.server import Gateway, PortTaken
from clipserve_gateway.settings import Settings
from clipserve_gateway.signals import stop_on_signals


async def serve_until_signal(settings: Settings) -> int:
    """Runs a gateway until SIGINT or SIGTERM; the process's exit code."""
    stop = stop_on_signals()
    try:
        gateway = Gateway(settings)
        await gateway.start()
    except (BadFile, PortTaken) as error:
        click.echo(f"clipserve-gateway: {error}", err=True)
        return 1
    freezing = asyncio.create_task(freeze_once_begun(gateway))
    await stop.wait()
    freezing.cancel()
    await gateway.stop(drain_seconds=settings.drain_seconds, grace_seconds=settings.grace_seconds)
    return 0


async def freeze_once_begun(gateway: Gateway) -> None:
    """Keeps what a gateway loads at its start out of garbage collection; see freeze_what_stays."""
    await gateway.begun()
    freeze_what_stays()
