"""Pictures a second that this machine's processors turn into pixels, by threads."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clipserve_gateway.inputs.preprocess import load_image
from decode import LIMITS, SIZES, TARGET, photograph

from testing.preprocessing import square


def scaling(
    threads: list[int], seconds: float, sizes: tuple[tuple[int, int], ...] = SIZES
) -> list[dict[str, Any]]:
    """One row for each size, mode and number of threads of one process."""
    found = []
    for width, height in sizes:
        content = photograph(width, height)
        for fast in (True, False):
            for count in threads:
                rate, cpu = decoded_per_s(content, fast, count, seconds)
                found.append(
                    {
                        "width": width,
                        "height": height,
                        "kB": len(content) / 1000,
                        "fast": fast,
                        "threads": count,
                        "images_per_s": rate,
                        "cpu_ms": cpu * 1e3,
                    }
                )
    return found


def decoded_per_s(content: bytes, fast: bool, threads: int, seconds: float) -> tuple[float, float]:
    """Pictures a second, and seconds of CPU time a picture."""
    load_image(content, *square(TARGET), limits=LIMITS, fast=fast)
    end = time.perf_counter() + seconds

    def work(_: int) -> int:
        done = 0
        while time.perf_counter() < end:
            load_image(content, *square(TARGET), limits=LIMITS, fast=fast)
            done += 1
        return done

    begin, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(work, range(threads)))
    return done / (time.perf_counter() - begin), (time.process_time() - cpu) / done
