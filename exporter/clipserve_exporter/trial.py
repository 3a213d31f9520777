"""A short trial on this machine: how many instances of a tower, with how many threads, and which batches.

The best differ by model and machine. It is for Triton's Python backend on a CPU; each process of the trial
runs the graph as an instance of that backend does.
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

from clipserve_exporter.backend.clipserve_cores import granted_cores
from clipserve_exporter.config import SHORT_TEXT, ModelFacts, Serving
from clipserve_exporter.errors import ExportError
from clipserve_exporter.trial_worker import Order

INSTANCES = (1, 2, 4)
"""Instances that are tried, as far as there are cores."""
SIZES = (1, 2, 4, 8, 16)
"""Rows of a batch that are tried."""
ENOUGH = 0.95
"""Of the best speed: the smallest batch that has so much is taken, and the fewest instances."""
LEAST_BATCH = 4
"""Smaller ones would cost Triton and the gateway too many calls."""
SLOWER = 1.5
"""By how much one image may take longer on a part of the cores than on all of them."""
LONGEST_SECONDS = 2.0
"""Batches that take longer are not tried: somebody may have to wait for one."""
BESIDE = 1.5
"""A batch of bulk work takes no longer than so many batches of one row, where there is one instance."""
SECONDS, RUNS = 0.2, 2
"""Of each look, at least."""
LOOKS = 2
"""At each batch, the others in between. The faster one counts: what else the machine does slows some."""
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""As `clipserve-gateway up` starts Triton."""


class Tried(NamedTuple):
    """One measurement."""

    tower: str
    instances: int
    threads: int
    rows: int
    """Of each instance's batches."""
    rate: float
    """Rows a second, of all instances together."""
    seconds: float
    """Of a batch."""


@dataclass(frozen=True)
class Trial:
    """What was measured, and what follows from it."""

    tried: tuple[Tried, ...]
    serving: Serving
    busy: bool = False
    """Whether other programs took part of the cores."""

    @property
    def one_seconds(self) -> float:
        """Of one image alone."""
        return one_row(by_instances(self.tried, self.serving.instances)).seconds

    @property
    def chosen(self) -> Tried:
        """The measurement of the instances and batches that were chosen, or of the nearest batch to those."""
        found = by_instances(self.tried, self.serving.instances)
        return min(found, key=lambda it: abs(it.rows - self.serving.image_batch))


def run_trial(
    facts: ModelFacts,
    image: torch.jit.ScriptModule,
    text: torch.jit.ScriptModule,
    serving: Serving,
    seen: Callable[[Tried], None] = lambda tried: None,
) -> Trial:
    """Tries the image tower, and the text tower where there is one instance.

    `seen` hears of each measurement. What the trial does not choose stays as `serving` has it. Raises
    ExportError.
    """
    cores = granted_cores()
    # This process and its threads have used all cores at most.
    busy = os.getloadavg()[0] > 1.5 * len(os.sched_getaffinity(0))
    counts = [count for count in INSTANCES if count <= cores]
    with tempfile.TemporaryDirectory(prefix="clipserve-trial-") as name:
        with workers(image, Path(name) / "image.pt", "image", facts.image_size, counts[-1]) as processes:
            tried = measured("image", [(processes[:count], cores // count) for count in counts], seen)
        chosen = choose(tried, serving)
        if chosen.instances == 1:
            kind = facts.text_length
            tokens = facts.context_length if kind == "fixed" else min(SHORT_TEXT, facts.context_length)
            with workers(text, Path(name) / "text.pt", kind, tokens, 1) as processes:
                texts = measured("text", [(processes, cores)], seen)
            chosen = replace(
                chosen,
                image_bulk_batch=bulk_batch(by_instances(tried, 1)),
                text_bulk_batch=bulk_batch(texts),
            )
            tried += texts
    return Trial(tuple(tried), chosen, busy)


def choose(tried: Sequence[Tried], serving: Serving) -> Serving:
    """The fewest instances that are nearly as fast as any, and their smallest batch that is.

    Each has an equal part of the cores. Where one image takes much longer so, there are not as many.
    """
    whole = one_row(by_instances(tried, 1)).seconds
    counts = {it.instances for it in tried if it.rows == 1 and it.seconds <= SLOWER * whole}
    best = {count: max(it.rate for it in by_instances(tried, count)) for count in counts}
    instances = min(count for count, rate in best.items() if rate >= ENOUGH * max(best.values()))
    rows = min(it.rows for it in by_instances(tried, instances) if it.rate >= ENOUGH * best[instances])
    rows = max(rows, LEAST_BATCH)
    return replace(serving, instances=instances, image_batch=rows, threads="split" if instances > 1 else 0)


def by_instances(tried: Sequence[Tried], count: int) -> list[Tried]:
    """The measurements of images on so many instances."""
    return [it for it in tried if it.tower == "image" and it.instances == count]


def one_row(tried: Sequence[Tried]) -> Tried:
    """The measurement of batches of one row."""
    return next(it for it in tried if it.rows == 1)


def bulk_batch(tried: Sequence[Tried]) -> int:
    """Rows of bulk work's batches where there is one instance: interactive calls wait for one of them."""
    one = one_row(tried).seconds
    return max(it.rows for it in tried if it.rows == 1 or it.seconds <= BESIDE * one)


def measured(
    tower: str, groups: Sequence[tuple[Sequence[Worker], int]], seen: Callable[[Tried], None]
) -> list[Tried]:
    """Times growing batches in all processes of a group at once, until they take too long; groups take turns.

    Args:
        groups: processes, and the threads of each.
    """
    found: dict[tuple[int, int], Tried] = {}
    for _ in range(LOOKS):
        for processes, threads in groups:
            for rows in SIZES:
                seconds = look(processes, Order(rows, threads, SECONDS, RUNS))
                count, rate = len(processes), sum(rows / it for it in seconds)
                before = found.get((count, rows))
                if before is None or rate > before.rate:
                    found[count, rows] = Tried(tower, count, threads, rows, rate, max(seconds))
                seen(found[count, rows])
                if 2 * max(seconds) > LONGEST_SECONDS:
                    break
    return list(found.values())


def look(processes: Sequence[Worker], order: Order) -> list[float]:
    """Seconds of a batch in each of the processes, all at once."""
    for process in processes:
        process.begin(order)
    return [process.answer() for process in processes]


class Worker:
    """A process that times batches."""

    def __init__(self, file: Path, kind: str, size: int) -> None:
        command = [sys.executable, "-m", "clipserve_exporter.trial_worker", str(file), kind, str(size)]
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
        """Sends an order."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asdict(order)) + "\n")
            self.process.stdin.flush()

    def answer(self) -> float:
        """The seconds that it has measured; ExportError if the process has ended."""
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return float(json.loads(line))
        _, words = self.process.communicate()
        last = (words.strip().splitlines() or [f"exit code {self.process.returncode}"])[-1]
        raise ExportError(
            f"the trial of instances and batches failed: {last[:300]}; give --instances 1 to do without it"
        )


@contextlib.contextmanager
def workers(
    graph: torch.jit.ScriptModule, file: Path, kind: str, size: int, count: int
) -> Iterator[list[Worker]]:
    """Processes that have loaded a graph; ended afterwards."""
    # By way of memory: where torch itself writes a file, a full disk ends the process on the spot.
    file.write_bytes(graph.save_to_buffer())
    found: list[Worker] = []
    try:
        found.extend(Worker(file, kind, size) for _ in range(count))
        for worker in found:
            worker.answer()
        yield found
    finally:
        for worker in found:
            worker.process.kill()
            worker.process.communicate()
        file.unlink()
