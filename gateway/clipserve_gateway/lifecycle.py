"""From start to signal to stop."""

from __future__ import annotations

import click

from clipserve_gateway.access.files import BadFile
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
    await stop.wait()
    await gateway.stop(drain_seconds=settings.drain_seconds, grace_seconds=settings.grace_seconds)
    return 0
