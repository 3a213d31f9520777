"""Moves work on large messages to threads, so that no task blocks the event loop for more than some ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEPS_ON_LOOP = 2_000
"""About 5 ms. A step is a label or a value of a payload or filter, and takes some microseconds."""
STEPS_OF_AN_INPUT = 512
"""Steps of an image, text or point, so that up to three are read on the loop. Copying and hashing an image of
20 MB takes 25 ms."""
BYTES_ON_LOOP = 256 << 10
"""Parsing this many bytes takes 0.05 ms for images, and 15 ms for the largest number of fields."""


async def off_loop(steps: int, work: Callable[[], T]) -> T:
    """The result of `work()`, which runs in a thread (0.1 ms more) if it takes more than STEPS_ON_LOOP."""
    if steps <= STEPS_ON_LOOP:
        return work()
    return await asyncio.to_thread(work)
