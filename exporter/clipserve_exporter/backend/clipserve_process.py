"""Memory and threads of a process that runs a tower: set before torch is imported, and after the weights.

Imports only the standard library, so that it can be imported first.
"""

import ctypes
import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    # OpenMP threads that spin while they wait take CPU time from other threads.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Read by torch's libraries when they are loaded. Variables that are set already take precedence."""

MALLOPT = {-8: 1, -4: 0, -1: (1 << 31) - 1, -2: 64 << 20}
"""Options of glibc's malloc.h: M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD."""

CACHED_SIZES = 16
"""Largest number of batch sizes for which oneDNN may keep prepared convolutions."""


def bound_memory(largest_batch: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Makes oneDNN prepare convolutions for each call if there may be many batch sizes.

    Otherwise oneDNN keeps the prepared convolutions and their scratch memory for each batch size, which adds
    up to gigabytes. Preparing them for each call makes one image 25 % slower and batches a few percent. Must
    be called before the first batch.
    """
    if largest_batch > CACHED_SIZES:
        environment.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")


def keep_memory() -> None:
    """Makes the C library keep the memory that a layer frees for the next layer.

    By default it maps tens of megabytes for each layer of a batch, and the kernel clears them: more than half
    of the time that a convolutional tower takes for 32 images. Does nothing if the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in MALLOPT.items():
            mallopt(option, value)


def granted_cores() -> int:
    """Number of cores that this process may use, by its affinity and its cgroup's quota; at least 1."""
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        pass
    return max(1, int(cores))


def threads_of(setting: str, groups: Sequence[dict[str, Any]]) -> int:
    """Number of threads of one instance; `split` and `0` mean an equal share of the granted cores.

    Args:
        setting: the parameter `threads` of the tower's configuration.
        groups: the instance groups of the tower's configuration.
    """
    if setting not in ("split", "0"):
        return int(setting)
    instances = sum(int(group["count"]) for group in groups)
    return max(1, granted_cores() // max(1, instances))
