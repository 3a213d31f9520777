"""How this process's memory is managed."""

from __future__ import annotations

import asyncio
import ctypes
import gc

M_ARENA_MAX = -8
"""mallopt's name for it, in glibc's malloc.h."""
ARENAS = 2
TRIM_SECONDS = 15.0


def use_few_arenas() -> None:
    """Keeps glibc from giving threads heaps of their own.

    By default there are up to eight for each core. What one thread has freed another one cannot use then: of
    an engine that writes from many threads, memory grows for hours. Must come before threads do; does nothing
    with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)


def freeze_what_stays() -> None:
    """Takes all objects that there are now out of garbage collection.

    What is imported stays for good; to look through all of it again took 130 ms every seven seconds under
    load, in which no call was answered. To be called once, when everything is loaded.
    """
    gc.collect()
    gc.freeze()


async def give_back_freed() -> None:
    """Every few seconds gives the system back what has been freed, for ever.

    glibc itself gives back the end of its heap alone; what lies between grows with the largest moments of
    every kind of work. Takes milliseconds, in a thread; does nothing with another C library.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while True:
        await asyncio.sleep(TRIM_SECONDS)
        if trim is not None:
            await asyncio.to_thread(trim, 0)
