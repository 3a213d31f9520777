"""Threads that decode images, so that the event loop never does."""

from __future__ import annotations

import asyncio
import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from clipserve_gateway.deadline import Deadline

T = TypeVar("T")

QUEUED_PER_THREAD = 64
"""Decodes that may wait for each thread before the pool counts as saturated: about 0.1–0.3 s of work."""


class DecodePool:
    """Runs decodes on as many threads as there are cores to use (Pillow releases the GIL).

    Belongs to one event loop.
    """

    def __init__(self, threads: int = 0) -> None:
        self.threads = threads or available_cores()
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        self._gate = asyncio.Semaphore(self.threads)
        self._pending = 0

    async def run(self, work: Callable[[], T], *, deadline: Deadline) -> T:
        """The result of `work()`. Work whose caller is gone or late by its turn is never begun.

        Raises DeadlineExceeded, or what the work raises.
        """
        self._pending += 1
        try:
            # Waiting here, not in the executor's own queue, is what lets a cancelled caller's work vanish.
            async with self._gate:
                deadline.check("decode")
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._pending -= 1

    def saturation(self) -> float:
        """0 for an idle pool, 1 for one that has as much waiting as it should."""
        return min(1.0, self._pending / (self.threads * (QUEUED_PER_THREAD + 1)))

    def close(self) -> None:
        """Lets running work finish and ends the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)


@functools.cache
def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: its CPU affinity, capped by the cgroup's quota (v2, then v1)."""
    cores = len(os.sched_getaffinity(0))
    quota = cgroup_quota(cgroup)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_quota(cgroup: Path) -> float | None:
    """CPUs that the cgroup grants, or None without a quota."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if limit in ("max", "-1"):
        return None
    return int(limit) / int(period)
