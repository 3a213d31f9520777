"""How this process's memory is managed, where the C library lets us say."""

from __future__ import annotations

import ctypes

M_ARENA_MAX = -8
"""mallopt's name for it, in glibc's malloc.h."""
ARENAS = 2


def use_few_arenas() -> None:
    """Keeps glibc from giving threads heaps of their own.

    By default there are up to eight for each core. What one thread has freed another one cannot use then: of
    an engine that writes from many threads, memory grows for hours. Must come before threads do; does nothing
    with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS)
