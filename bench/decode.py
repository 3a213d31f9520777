"""CPU time to turn one JPEG into 224 × 224 pixels: exact mode against fast mode.

    .venv/bin/python bench/decode.py [--seconds 2]

The pictures are made here, with the smoothness, edges and grain of photographs; times are this process's
CPU time on one thread, so a busy machine hardly moves them.
"""

from __future__ import annotations

import argparse
import io
import time

import numpy as np
from clipserve_gateway.preprocess import ImageLimits, load_image
from PIL import Image, ImageDraw

SIZES = ((256, 256), (1280, 960), (4000, 3000))
TARGET = 224
LIMITS = ImageLimits(64 << 20, 100_000_000)


def photograph(width: int, height: int) -> bytes:
    """A JPEG of quality 90 that takes about as many bytes a pixel as a camera's."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, r = rng.integers(0, width), rng.integers(0, height), rng.integers(width // 60, width // 8)
        color = tuple(int(value) for value in rng.integers(0, 256, 3))
        draw.ellipse((int(x - r), int(y - r), int(x + r), int(y + r)), fill=color)
    grain = rng.normal(0, 4, (height, width, 1)).astype(np.float32)
    pixels = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def cpu_ms(content: bytes, *, fast: bool, seconds: float) -> float:
    """Milliseconds of CPU time a picture, the best of several rounds."""
    load_image(content, TARGET, limits=LIMITS, fast=fast)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start, rounds = time.process_time(), 0
        while time.process_time() - start < seconds / 8:
            load_image(content, TARGET, limits=LIMITS, fast=fast)
            rounds += 1
        best = min(best, (time.process_time() - start) / rounds)
    return best * 1000


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="time for each number")
    seconds = parser.parse_args().seconds
    print(
        f"{'JPEG':>12} {'kB':>7} {'exact ms':>9} {'fast ms':>8} {'ratio':>6} {'mean difference of 255':>23}"
    )
    for width, height in SIZES:
        content = photograph(width, height)
        exact, fast = (cpu_ms(content, fast=mode, seconds=seconds) for mode in (False, True))
        pixels = [load_image(content, TARGET, limits=LIMITS, fast=mode).astype(int) for mode in (False, True)]
        difference = np.abs(pixels[0] - pixels[1]).mean()
        size = f"{width}×{height}"
        row = f"{size:>12} {len(content) / 1000:>7.0f} {exact:>9.2f} {fast:>8.2f} {exact / fast:>6.1f}"
        print(f"{row} {difference:>23.2f}")


if __name__ == "__main__":
    main()
