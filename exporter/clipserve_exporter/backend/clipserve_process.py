"""How a process that runs a tower uses memory and threads: before torch is imported, and after the weights.

Imports nothing but the standard library, so that it can come first.
"""

import ctypes
import os
from collections.abc import MutableMapping

ENVIRONMENT = {
    # OpenMP threads that spin while they wait steal the cores of the others.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Read by torch's libraries when they are loaded. What is set already should stay."""

MALLOPT = {-8: 1, -4: 0, -1: (1 << 31) - 1, -2: 64 << 20}
"""Options of glibc's malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD."""

KEPT_SIZES = 16
"""Batch sizes that layers may be prepared for."""


def bound_memory(largest_batch: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Has oneDNN prepare convolutions for each call where there may be many batch sizes.

    It keeps what it has prepared, with its scratch memory, for each size: some gigabytes in the end. To
    prepare them for each call makes one image a quarter slower, and batches by a few percent. It must be
    called before the first batch.
    """
    if largest_batch > KEPT_SIZES:
        environment.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")


def keep_memory() -> None:
    """Has the C library keep what layers free for the next layers.

    By default it maps tens of megabytes anew for each layer of a batch, and the kernel clears them: more than
    half of the time that a convolutional tower takes for 32 images. Does nothing with another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in MALLOPT.items():
            mallopt(option, value)
