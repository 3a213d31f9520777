"""What a process uses, and what a gateway says of itself."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from prometheus_client.parser import text_string_to_metric_families

MIB = 1024 * 1024
EVERY_SECONDS = 0.1
SCRAPE_SECONDS = 0.25
"""Between two looks at a gateway's metrics: they cost the gateway milliseconds each."""


@dataclass(frozen=True)
class Usage:
    """What a process holds at a moment of the monotonic clock."""

    moment: float
    memory: int
    """Resident bytes."""
    files: int
    """Open file descriptors."""
    threads: int


def usage(pid: int) -> Usage:
    """Of a process now; raises OSError for one that is gone."""
    folder = Path(f"/proc/{pid}")
    facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    memory = int(facts["VmRSS"].split()[0]) * 1024
    return Usage(time.monotonic(), memory, len(list((folder / "fd").iterdir())), int(facts["Threads"]))


class Watch:
    """Samples of a process's usage while inside."""

    def __init__(self, pid: int, every: float = EVERY_SECONDS) -> None:
        self.samples: list[Usage] = []
        self._pid = pid
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self.samples.append(usage(self._pid))
        self._thread.start()
        return self

    def _watch(self) -> None:
        # A process that has ended has nothing more to show.
        with contextlib.suppress(OSError, KeyError):
            while not self._stop.wait(self._every):
                self.samples.append(usage(self._pid))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def growth(self) -> float:
        """MiB between the first sample and the largest."""
        return (max(it.memory for it in self.samples) - self.samples[0].memory) / MIB


def tracebacks(log: bytes) -> list[str]:
    """The last line of each traceback in a gateway's log, but for errors of the gateway's own words.

    What gRPC's library says of connections that broke is its own.
    """
    found = []
    for line in log.decode(errors="replace").splitlines():
        if not line.startswith("{") or "Traceback" not in line:
            continue
        entry = json.loads(line)
        last = (entry.get("traceback") or entry["message"]).strip().splitlines()[-1]
        if not entry["logger"].startswith("grpc.") and not last.startswith("clipserve_gateway.errors."):
            found.append(re.sub(r"<Token.*?> at 0x\w+>|0x\w+", "…", last))
    return found


def metric(http: str, name: str, **labels: str) -> float:
    """The sum of a gateway's samples of that name that have these labels; 0 if there are none."""
    with urllib.request.urlopen(f"{http}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def thread_pools(http: str) -> dict[str, float]:
    """How many threads each pool of a gateway has."""
    with urllib.request.urlopen(f"{http}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    (threads,) = (it for it in families if it.name == "clipserve_threads")
    return {sample.labels["pool"]: sample.value for sample in threads.samples}


def serves(http: str) -> bool:
    """Whether a gateway has a model that Triton serves."""
    return metric(http, "clipserve_model_ready") > 0


def takes_calls(http: str) -> bool:
    """Whether a gateway is ready; one whose collections are elsewhere first opens their engine."""
    try:
        with urllib.request.urlopen(f"{http}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def connections(port: int) -> int:
    """TCP connections to a port of this machine that its owner has not closed."""
    listening, waiting = "0A", "06"
    rows = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
    ]
    return sum(
        int(row[1].rpartition(":")[2], 16) == port and row[3] not in (listening, waiting) for row in rows
    )


def http_status(url: str) -> int:
    """The status that an HTTP endpoint answers with."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> float:
    """Seconds until a condition holds; infinite if it does not in time."""
    begin = time.monotonic()
    while time.monotonic() < begin + seconds:
        if condition():
            return time.monotonic() - begin
        time.sleep(every)
    return float("inf")
