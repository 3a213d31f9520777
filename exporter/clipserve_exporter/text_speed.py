"""Measures what it gains that texts need not be padded to the full length."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clipserve_exporter.samples import Texts, laid_out
from clipserve_exporter.source import Source

ROWS, TOKENS = 8, 12
"""The batch that is timed."""
WARM_RUNS, RUNS = 2, 3
"""TorchScript optimizes a graph in its first runs. The fastest of the others counts."""
SECONDS = 5.0
"""No run of a batch begins later than this."""


@dataclass(frozen=True)
class TextSpeed:
    """The speed of `rows` texts of `tokens` tokens, as a multiple of that of the full length."""

    rows: int
    tokens: int
    factor: float


def measure_text_speed(source: Source, graph: Callable[..., Tensor]) -> TextSpeed:
    """Times a `ragged` or `masked` graph here with short texts and with texts of the full length."""
    texts, rng = Texts(source), np.random.default_rng(0)
    tokens = min(TOKENS, source.context_length)
    short, full = (laid_out(texts.rows(rng, [length] * ROWS)) for length in (tokens, source.context_length))
    of_short, of_full = fastest_run(graph, short), fastest_run(graph, full)
    return TextSpeed(ROWS, tokens, of_full / of_short)


def fastest_run(graph: Callable[..., Tensor], inputs: tuple[Tensor, Tensor]) -> float:
    """Returns the seconds of the fastest of some runs."""
    took: list[float] = []
    with torch.inference_mode():
        while len(took) < WARM_RUNS + RUNS and sum(took) < SECONDS:
            begin = time.perf_counter()
            graph(*inputs)
            took.append(time.perf_counter() - begin)
    return min(took[WARM_RUNS:] or took)
