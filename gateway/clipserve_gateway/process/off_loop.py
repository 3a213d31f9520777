"""Work on large messages, in a thread: what the event loop does at a time takes some milliseconds at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEPS_ON_LOOP = 2_000
"""About 5 ms: a step is a label, a value of a payload or a filter, some microseconds of Python each."""
STEPS_OF_AN_INPUT = 512
"""Of a picture, text or point: up to three are read on the loop. A picture's bytes are copied and hashed,
which takes 25 ms for 20 MB."""
BYTES_ON_LOOP = 256 << 10
"""To parse them takes 0.05 ms where they are pictures, and 15 ms where they are as many fields as fit."""


async def off_loop(steps: int, work: Callable[[], T]) -> T:
    """The result of `work()`: done at once if it takes few steps, else in a thread (0.1 ms more)."""
    if steps <= STEPS_ON_LOOP:
        return work()
    return await asyncio.to_thread(work)
