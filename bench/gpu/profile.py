"""Where a tower's time goes on the device: its kernels, and what new shapes cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from clipserve_exporter.config import Serving
from torch.profiler import ProfilerActivity, profile

from bench.gpu.machine import synchronize
from bench.gpu.towers import WARMUPS, Inputs, prompts
from bench.gpu.variants import switches

ROUNDS = 5
SECONDS = 14.0
"""After so long no further new batch sizes are tried."""


@torch.inference_mode()
def kernels(graph: Callable[..., torch.Tensor], inputs: Inputs, device: str, top: int = 14) -> dict[str, Any]:
    """The dearest kernels of one call (on a CPU: operators), and how much of the time the device works."""
    there = tuple(one.to(device) for one in inputs)
    for _ in range(WARMUPS):
        graph(*there)
    synchronize(device)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        graph(*there)
    synchronize(device)
    wall = (time.perf_counter() - begin) / ROUNDS * 1e6
    activities = [ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]
    with profile(activities=activities) as seen:
        for _ in range(ROUNDS):
            graph(*there)
        synchronize(device)
    field = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    rows = sorted(
        ((event.key, getattr(event, field) / ROUNDS, event.count / ROUNDS) for event in seen.key_averages()),
        key=lambda row: -row[1],
    )
    total = sum(row[1] for row in rows)
    return {
        "wall_us": wall,
        "kernels_us": total,
        "top": [
            {"kernel": name[:160], "us": us, "count": count, "share": us / max(total, 1e-9)}
            for name, us, count in rows[:top]
        ],
    }


@torch.inference_mode()
def first_calls(
    file: Path, tower: str, size: int, device: str, largest: int, without: str = ""
) -> dict[str, Any]:
    """What callers wait who bring a batch size that the warmup did not: ms of the first calls of each.

    For a process of its own, in which nothing else has run. `without` names a switch to turn off.
    """
    graph = torch.jit.load(str(file), map_location=device).eval()
    tokens = [16, 7, 11, 23, 9, 31, 5, 13]

    def inputs(batch: int) -> Inputs:
        if tower == "image":
            return (torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8),)
        return prompts(batch, tokens[batch % len(tokens)])

    def timed(batch: int) -> float:
        there = tuple(one.to(device) for one in inputs(batch))
        synchronize(device)
        begin = time.perf_counter()
        graph(*there).cpu()
        return (time.perf_counter() - begin) * 1e3

    limit = Serving.image_batch if tower == "image" else Serving.text_batch
    with switches(**({without: False} if without else {})):
        warm = sorted({min(step, largest) for step in (1, 4, 16, limit)})
        warmup = [timed(batch) for batch in warm for _ in range(2)]
        begin = time.perf_counter()
        fresh: dict[int, list[float]] = {}
        for batch in range(1, largest + 1):
            if time.perf_counter() - begin < SECONDS:
                fresh[batch] = [timed(batch) for _ in range(3)]
        steady = {batch: min(timed(batch) for _ in range(3)) for batch in (1, largest)}
    firsts = [times[0] for times in fresh.values()]
    return {
        "tower": tower,
        "without": without,
        "warmup_ms": warmup,
        "first_ms": {str(batch): times for batch, times in fresh.items()},
        "worst_ms": max(max(times) for times in fresh.values()),
        "over_40_ms": sum(time > 40 for times in fresh.values() for time in times),
        "sum_of_firsts_ms": sum(firsts),
        "steady_ms": {str(batch): ms for batch, ms in steady.items()},
    }
