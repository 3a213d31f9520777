"""How late the event loop is: what holds it up holds up every call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 0.25


async def watch_lag(observe: Callable[[float], None]) -> None:
    """Tells, for ever, by how many seconds a timer of LOOK_SECONDS comes late."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        observe(max(0.0, loop.time() - due))
