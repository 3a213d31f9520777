"""Counts the threads of this process by pool.

Every pool of the gateway has a name and a limit. Threads of the engine and of gRPC are recognized by the
names that their libraries give them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from clipserve_gateway.process.cores import available_cores

WORKERS_BESIDE_CORES = 4
"""Threads in addition to one for each core, because work that waits, such as name lookups, needs no core."""
MOST_WORKERS = 32
TASKS = Path("/proc/self/task")
MAIN, OTHER = "main", "other"
LIBRARIES = {
    "grpc": ("grpc", "event_engine", "lifeguard", "Thread-", "default-exec", "resolver-exec"),
    "engine": ("lance", "LanceDB", "tokio", "jemalloc"),
    OTHER: ("asyncio-waitpid",),
}
"""Pools of libraries, and the beginnings of their threads' names. `Thread-1` is gRPC's poller in Python."""


def use_named_workers(loop: asyncio.AbstractEventLoop) -> None:
    """Gives `to_thread` of a loop a pool named `work`, sized by the cores that this process may use.

    asyncio's default pool counts all cores of the machine.
    """
    workers = min(MOST_WORKERS, available_cores() + WORKERS_BESIDE_CORES)
    loop.set_default_executor(ThreadPoolExecutor(workers, thread_name_prefix="work"))


def pool_of(name: str) -> str:
    """The pool of a thread, by its name: `decode_3` belongs to `decode`."""
    for pool, beginnings in LIBRARIES.items():
        if name.startswith(beginnings):
            return pool
    if name == "MainThread":
        return MAIN
    pool, _, number = name.rpartition("_")
    return pool if pool and number.isdecimal() else name


def thread_names() -> Iterator[str]:
    """The name of each thread of this process: Python's, or else the system's; empty if it has none."""
    threads = (thread for thread in threading.enumerate() if not thread.name.startswith("Dummy-"))
    known = {thread.native_id: thread.name for thread in threads}
    if not TASKS.is_dir():
        yield from known.values()
        return
    process = (TASKS.parent / "comm").read_text()
    for task in os.listdir(TASKS):
        if int(task) in known:
            yield known[int(task)]
            continue
        try:
            name = (TASKS / task / "comm").read_text()
        except OSError:
            continue
        # A library's thread without its own name has the name of the process.
        yield "" if name == process else name.strip()


class ThreadCollector(Collector):
    """Counts threads at each scrape of the metrics."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One sample for each pool."""
        family = GaugeMetricFamily("clipserve_threads", "Threads of this process, by pool.", labels=["pool"])
        for pool, count in sorted(Counter(pool_of(name) or OTHER for name in thread_names()).items()):
            family.add_metric([pool], count)
        yield family
