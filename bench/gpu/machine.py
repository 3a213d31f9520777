"""The machine that a measurement ran on: what it is, and its own ceilings."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SIDE = 8192
"""Of the square matrices whose product gives the ceiling."""
COPY_BYTES = 256 << 20
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def synchronize(device: str) -> None:
    """Waits until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def latencies(call: Callable[[], Any], device: str, seconds: float, least: int = 5) -> list[float]:
    """Seconds of each call, one waited for after the other, for about `seconds`."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        synchronize(device)
        found.append(time.perf_counter() - begin)
    return found


def p50(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def pace(call: Callable[[], Any], device: str, seconds: float, one: float) -> float:
    """Seconds a call where calls are queued back to back and only the last is waited for.

    Best of three rounds; `one` is what a call takes about.
    """
    rounds, best = max(3, int(seconds / 3 / max(one, 1e-6))), float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(rounds):
            call()
        synchronize(device)
        best = min(best, (time.perf_counter() - begin) / rounds)
    return best


def facts(device: str) -> dict[str, Any]:
    """Card, driver, processor and versions."""
    cpu = [line.split(":")[1].strip() for line in cpu_info() if line.startswith("model name")]
    found: dict[str, Any] = {
        "card": platform.processor() or "cpu",
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        driver = Path("/proc/driver/nvidia/version")
        found |= {
            "card": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": driver.read_text().splitlines()[0] if driver.exists() else "",
        }
    return found


def cpu_info() -> list[str]:
    """The lines in which the kernel describes the processors."""
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []


def ceilings(device: str, quick: bool) -> dict[str, float]:
    """Matrix products in TFLOP/s by precision, and copies in GB/s, on random data."""
    side, size = (512, 8 << 20) if quick else (SIDE, COPY_BYTES)
    found = {}
    for name, dtype in DTYPES.items():
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = median_of(lambda a=a, b=b: a @ b, device, 3 if quick else 15)
        found[f"{name}_tflops"] = 2 * side**3 / seconds / 1e12
    source = torch.randint(0, 256, (size,), dtype=torch.uint8)
    found["pageable_gbps"] = size / median_of(lambda: source.to(device, copy=True), device) / 1e9
    if device == "cuda":
        pinned = source.pin_memory()
        found["pinned_gbps"] = size / median_of(lambda: pinned.to(device), device) / 1e9
        there = pinned.to(device)
        # Read once and written once.
        found["memory_gbps"] = 2 * size / median_of(lambda: there.clone(), device) / 1e9
    return found


def median_of(call: Callable[[], Any], device: str, repeats: int = 10) -> float:
    """Seconds of a call: the median of `repeats`, after two to warm up."""
    for _ in range(2):
        call()
    synchronize(device)
    return p50(latencies(call, device, 0, repeats))
