"""A short trial on this machine that chooses the number of instances and the batch sizes of the towers.

The best choice depends on the model and the machine. The trial is for Triton's Python backend on a CPU: each
of its processes runs the graph as one instance of that backend does.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from clipserve_exporter.backend.clipserve_process import granted_cores
from clipserve_exporter.config import SHORT_TEXT, ModelFacts, Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.trial_worker import Order

INSTANCES = (1, 2, 4)
"""Numbers of instances to try; at most one instance for each core."""
SIZES = (1, 2, 4, 8, 16)
"""Batch sizes to try, in rows."""
MIN_RATE_FRACTION = 0.95
"""The trial takes the smallest batch and the fewest instances that reach this fraction of the best rate."""
MIN_BATCH = 4
"""Smallest batch limit to choose: smaller batches cost Triton and the gateway too many calls."""
MAX_SLOWDOWN = 1.5
"""Most by which one image may take longer on an instance's share of the cores than on all cores."""
MAX_BATCH_SECONDS = 2.0
"""Larger batches are not tried: an interactive call may have to wait for a batch."""
MAX_BULK_SLOWDOWN = 1.5
"""Longest time of a batch of bulk work, as a multiple of the time of one row, if there is one instance."""
SECONDS, RUNS = 0.2, 2
"""Least time and number of runs of each measurement."""
REPEATS = 2
"""Measurements of each batch size. The fastest one counts, since other programs may slow some of them."""
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment in which `clipserve-gateway up` starts Triton."""


class Measurement(NamedTuple):
    """The speed of one tower with some number of instances and one batch size."""

    tower: str
    instances: int
    threads: int
    rows: int
    """Batch size."""
    rate: float
    """Rows per second of all instances together."""
    seconds: float
    """Time of one batch."""


@dataclass(frozen=True)
class Trial:
    """The measurements of a trial and the settings that follow from them."""

    measurements: tuple[Measurement, ...]
    serving: Serving
    busy: bool = False
    """Whether other programs used part of the cores."""

    @property
    def one_seconds(self) -> float:
        """Time of one image alone with the chosen settings."""
        return one_row(by_instances(self.measurements, self.serving.instances)).seconds

    @property
    def chosen(self) -> Measurement:
        """The measurement of the chosen instances with the batch size nearest to the chosen one."""
        candidates = by_instances(self.measurements, self.serving.instances)
        return min(candidates, key=lambda measured: abs(measured.rows - self.serving.image_batch))


def run_trial(
    facts: ModelFacts,
    image: torch.jit.ScriptModule,
    text: torch.jit.ScriptModule,
    serving: Serving,
    on_measured: Callable[[Measurement], None] = lambda measurement: None,
) -> Trial:
    """Measures the image tower, and the text tower if one instance is chosen.

    Calls `on_measured` after each measurement. Settings that the trial does not choose are taken from
    `serving`. Raises ExportError.
    """
    cores = granted_cores()
    # The export itself has kept at most all cores busy.
    busy = os.getloadavg()[0] > 1.5 * len(os.sched_getaffinity(0))
    counts = [count for count in INSTANCES if count <= cores]
    with tempfile.TemporaryDirectory(prefix="clipserve-trial-") as name:
        shape = facts.preprocess.shape
        with workers(image, Path(name) / "image.pt", "image", shape, counts[-1]) as processes:
            groups = [(processes[:count], cores // count) for count in counts]
            measurements = measure("image", groups, on_measured)
        chosen = choose(measurements, serving)
        if chosen.instances == 1:
            kind = facts.text_length
            tokens = facts.context_length if kind == "fixed" else min(SHORT_TEXT, facts.context_length)
            with workers(text, Path(name) / "text.pt", kind, [tokens], 1) as processes:
                texts = measure("text", [(processes, cores)], on_measured)
            chosen = replace(
                chosen,
                image_bulk_batch=bulk_batch(by_instances(measurements, 1)),
                text_bulk_batch=bulk_batch(texts),
            )
            measurements += texts
    return Trial(tuple(measurements), chosen, busy)


def choose(measurements: Sequence[Measurement], serving: Serving) -> Serving:
    """Chooses the fewest instances that are nearly as fast as any, and their smallest batch that is.

    Each instance has an equal share of the cores. Numbers of instances with which one image takes more than
    MAX_SLOWDOWN times as long as on all cores are left out.
    """
    all_cores = one_row(by_instances(measurements, 1)).seconds
    counts = {
        measured.instances
        for measured in measurements
        if measured.rows == 1 and measured.seconds <= MAX_SLOWDOWN * all_cores
    }
    best = {count: max(one.rate for one in by_instances(measurements, count)) for count in counts}
    fast = MIN_RATE_FRACTION * max(best.values())
    instances = min(count for count, rate in best.items() if rate >= fast)
    fast = MIN_RATE_FRACTION * best[instances]
    rows = min(one.rows for one in by_instances(measurements, instances) if one.rate >= fast)
    return replace(serving, instances=instances, image_batch=max(rows, MIN_BATCH), threads=0)


def by_instances(measurements: Sequence[Measurement], count: int) -> list[Measurement]:
    """Returns the measurements of the image tower with `count` instances."""
    return [one for one in measurements if one.tower == "image" and one.instances == count]


def one_row(measurements: Sequence[Measurement]) -> Measurement:
    """Returns the measurement of batches of one row."""
    return next(one for one in measurements if one.rows == 1)


def bulk_batch(measurements: Sequence[Measurement]) -> int:
    """Returns the batch size of bulk work if there is one instance: interactive calls wait for one batch."""
    longest = MAX_BULK_SLOWDOWN * one_row(measurements).seconds
    return max(one.rows for one in measurements if one.rows == 1 or one.seconds <= longest)


def measure(
    tower: str,
    groups: Sequence[tuple[Sequence[Worker], int]],
    on_measured: Callable[[Measurement], None],
) -> list[Measurement]:
    """Times growing batches in all processes of a group at once until they take too long; groups alternate.

    Args:
        groups: pairs of processes and the number of threads of each process.
    """
    fastest: dict[tuple[int, int], Measurement] = {}
    for _ in range(REPEATS):
        for processes, threads in groups:
            for rows in SIZES:
                order = Order(rows, threads, SECONDS, RUNS)
                for process in processes:
                    process.begin(order)
                seconds = [process.answer() for process in processes]
                count, rate = len(processes), sum(rows / one for one in seconds)
                before = fastest.get((count, rows))
                if before is None or rate > before.rate:
                    fastest[count, rows] = Measurement(tower, count, threads, rows, rate, max(seconds))
                on_measured(fastest[count, rows])
                if 2 * max(seconds) > MAX_BATCH_SECONDS:
                    break
    return list(fastest.values())


class Worker:
    """A process that times batches. See trial_worker."""

    def __init__(self, file: Path, kind: str, shape: Sequence[int]) -> None:
        command = [sys.executable, "-m", "clipserve_exporter.trial_worker", str(file), kind, *map(str, shape)]
        package = str(Path(__file__).parents[1])
        paths = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            command,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self, order: Order) -> None:
        """Sends an order to the process."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(order)) + "\n")
            self.process.stdin.flush()

    def answer(self) -> float:
        """Returns the seconds that the process measured. Raises ExportError if the process has ended."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return float(json.loads(line))
        _, words = self.process.communicate()
        last = (words.strip().splitlines() or [f"exit code {self.process.returncode}"])[-1]
        raise ExportError(
            f"the trial of instances and batches failed: {last[:300]}; pass --instances 1 to skip the trial"
        )


@contextlib.contextmanager
def workers(
    graph: torch.jit.ScriptModule, file: Path, kind: str, shape: Sequence[int], count: int
) -> Iterator[list[Worker]]:
    """Starts processes that load a graph, and ends them afterwards."""
    # Through memory: if torch writes the file itself, a full disk ends the process at once.
    file.write_bytes(graph.save_to_buffer())
    started: list[Worker] = []
    try:
        started.extend(Worker(file, kind, shape) for _ in range(count))
        for worker in started:
            worker.answer()
        yield started
    finally:
        for worker in started:
            worker.process.kill()
            worker.process.communicate()
        file.unlink()
