"""Writes that are repeated where another process got in the way, and what their failures mean."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from clipserve_gateway.errors import ClipserveError, StorageFailed

CONFLICT_RETRIES = 8
CONFLICTS = ("commit conflict", "concurrent")
"""In the messages of errors that a repetition may cure."""


async def retrying(write: Callable[[], Awaitable[Any]]) -> Any:
    """Repeats a write that another commit got in the way of."""
    attempt = 0
    while True:
        try:
            return await write()
        except Exception as error:
            attempt += 1
            message = str(error).lower()
            if not any(sign in message for sign in CONFLICTS) or attempt == CONFLICT_RETRIES:
                raise
        await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)


def storage_failed(error: Exception) -> ClipserveError:
    """What an engine's own error means to a caller."""
    if isinstance(error, ClipserveError):
        return error
    return StorageFailed(f"the index could not read or write: {str(error)[:200]}")
