"""Times a tower's graph for a trial: a process of its own, as each of Triton's instances is one.

    python -m clipserve_exporter.trial_worker model.pt image 224

It answers each line of JSON on standard input, an Order, with one: the seconds of the fastest run, since what
else the machine does may slow the others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass

from clipserve_exporter.backend.clipserve_process import ENVIRONMENT, keep_memory

WARM_RUNS = 2
"""Of each size, not counted: TorchScript optimizes a graph after its first runs."""


@dataclass(frozen=True)
class Order:
    """What to run."""

    rows: int
    threads: int
    seconds: float
    """At least so long."""
    runs: int
    """At least so many."""


def main(file: str, tower: str, size: int) -> None:
    """Answers orders until there are no more.

    `size` is of the images, in pixels; or of the texts, in tokens. `tower` is image, ragged (texts end to
    end, and their lengths) or fixed.
    """
    os.environ.update(ENVIRONMENT | os.environ)
    import torch

    def rows_of(count: int) -> list[torch.Tensor]:
        if tower == "image":
            return [torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)]
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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
