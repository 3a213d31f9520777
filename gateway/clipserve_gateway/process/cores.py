"""The number of processor cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def available_cores(root: Path = Path("/")) -> int:
    """Cores in this process's CPU affinity, capped by its cgroup's quota (rounded up); at least 1.

    Args:
        root: where `proc/self/cgroup` and `sys/fs/cgroup` are.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas(root))]))


def quotas(root: Path) -> Iterator[float]:
    """The CPU limits of the process's cgroup and of each cgroup above it."""
    mount = root / "sys/fs/cgroup"
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for membership in memberships:
        _, _, rest = membership.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for folder in upward(mount, path):
                yield from quota(folder / "cpu.max")
        elif "cpu" in controllers.split(","):
            for hierarchy in (mount / "cpu", mount / controllers):
                for folder in upward(hierarchy, path):
                    yield from quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")


def upward(hierarchy: Path, path: str) -> Iterator[Path]:
    """A cgroup's folder and those above it. In a container, often only the topmost exists."""
    inner = PurePosixPath(path.lstrip("/"))
    for part in (inner, *inner.parents):
        if ".." not in part.parts:
            yield hierarchy / part


def quota(*files: Path) -> Iterator[float]:
    """The limit divided by the period, which the files hold together; nothing if there is no limit."""
    try:
        limit, period = " ".join(file.read_text() for file in files).split()
        if limit not in ("max", "-1") and int(period) > 0:
            yield int(limit) / int(period)
    except (OSError, ValueError):
        return
