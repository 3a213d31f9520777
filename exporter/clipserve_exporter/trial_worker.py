"""Times a tower's graph for a trial, in a process of its own, as each of Triton's instances is one.

    python -m clipserve_exporter.trial_worker model.pt image 224

Each line of standard input is an Order in JSON. The answer is a line with the seconds of the fastest run,
since other programs on the machine may slow down some runs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from clipserve_exporter.backend.clipserve_process import ENVIRONMENT, keep_memory

WARM_RUNS = 2
"""Runs of each batch size that are not timed: TorchScript optimizes a graph after its first runs."""


@dataclass(frozen=True)
class Order:
    """Which batch to run, and how often."""

    rows: int
    threads: int
    seconds: float
    """Least total time of the runs."""
    runs: int
    """Least number of runs."""


def main(file: str, tower: str, shape: Sequence[int]) -> None:
    """Answers orders until standard input ends.

    Args:
        file: the TorchScript file.
        tower: `image`, `fixed`, or concatenated texts with their lengths: `ragged` or `masked`.
        shape: of one input: height, width and channels of an image, or the tokens of a text.
    """
    os.environ.update(ENVIRONMENT | os.environ)
    import torch

    def rows_of(count: int) -> list[torch.Tensor]:
        if tower == "image":
            return [torch.randint(0, 256, (count, *shape), dtype=torch.uint8)]
        (size,) = shape
        if tower == "fixed":
            return [torch.ones(count, size, dtype=torch.int32)]
        return [torch.ones(count * size, dtype=torch.int32), torch.full((count, 1), float(size))]

    model = torch.jit.load(file, map_location="cpu").eval()
    keep_memory()
    warm: set[int] = set()
    print(json.dumps(0.0), flush=True)
    with torch.inference_mode():
        for line in sys.stdin:
            order = Order(**json.loads(line))
            torch.set_num_threads(order.threads)
            rows = rows_of(order.rows)
            for _ in range(0 if order.rows in warm else WARM_RUNS):
                model(*rows)
            warm.add(order.rows)
            took: list[float] = []
            while len(took) < order.runs or sum(took) < order.seconds:
                begin = time.perf_counter()
                model(*rows)
                took.append(time.perf_counter() - begin)
            print(json.dumps(min(took)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(size) for size in sys.argv[3:]])
