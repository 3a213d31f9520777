"""Systems measured by turns, several times each, so that a busy machine slows all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click
import numpy as np

from bench.speed.load import Done
from bench.speed.watch import Meter

WARM = 0.2
"""Part of a turn that does not count."""


@dataclass(frozen=True)
class Turn:
    """One system for some seconds."""

    rate: float
    """Items a second."""
    p50: float = 0.0
    """Milliseconds of a call, as the following."""
    p95: float = 0.0
    p99: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    cpu_ms: dict[str, float] = field(default_factory=dict)
    """CPU time of each process, milliseconds an item; of the gateway's, `decoding` is a part."""
    stage_ms: dict[str, float] = field(default_factory=dict)
    """Time that an item spent in each stage of the gateway, and in `all`."""


def turn_of(done: Done, seconds: float, items: int, meter: Meter | None = None) -> Turn:
    """Rate and times of the calls that ended after the first moments.

    Answers come in batches: so the rate is counted from one answer to another, not over a span that cuts a
    batch in two. Answers that come after the turn do not count for the rate; their times do.
    """
    due, end = np.array(done.due), np.array(done.end)
    if not len(end):
        return Turn(0.0, failures=done.failures)
    first = end[end <= WARM * seconds].max(initial=0.0)
    counts = (end > first) & (end <= max(seconds, first + 1e-9))
    if not counts.any():
        counts = end > first
    span = end[counts].max() - first
    latencies = (end - due)[end > first] * 1000
    p50, p95, p99 = (float(np.percentile(latencies, q)) for q in (50, 95, 99))
    total = max(1, len(end) * items)
    cpu, stages = (
        {name: spent * 1000 / total for name, spent in seconds_.items()}
        for seconds_ in ((meter.cpu, meter.stages) if meter else ({}, {}))
    )
    return Turn(float(counts.sum()) * items / span, p50, p95, p99, done.failures, cpu, stages)


def beyond_decoding(cpu_ms: Mapping[str, float], idle: float = 0.0) -> float:
    """The gateway's own part of the CPU time of an item, without `idle` milliseconds of it."""
    return cpu_ms["gateway"] - cpu_ms["decoding"] - idle


Systems = Mapping[str, Callable[[], Turn]]


def by_turns(systems: Systems, rounds: int) -> dict[str, list[Turn]]:
    """Every system once, then every system again in the other order, and so on.

    ClickException if a call fails: those that do not might be the fast ones.
    """
    found: dict[str, list[Turn]] = {name: [] for name in systems}
    for number in range(rounds):
        for name, system in list(systems.items())[:: -1 if number % 2 else 1]:
            found[name].append(answered(name, system()))
    return found


def answered(name: str, turn: Turn) -> Turn:
    """The turn of a system; ClickException if a call failed."""
    if turn.failures:
        raise click.ClickException(f"{name}: calls failed: {turn.failures}")
    return turn


def written(turns: Mapping[str, list[Turn]]) -> dict[str, list[dict[str, Any]]]:
    """Turns as JSON has them."""
    return {name: [asdict(turn) for turn in found] for name, found in turns.items()}


def read(turns: Mapping[str, list[dict[str, Any]]]) -> dict[str, list[Turn]]:
    """Turns that were written."""
    return {name: [Turn(**turn) for turn in found] for name, found in turns.items()}


def median(turns: list[Turn], what: str = "rate") -> float:
    """The middle one of a figure."""
    return statistics.median(getattr(turn, what) for turn in turns)


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The middle one of each part."""
    return {part: statistics.median(it[part] for it in rounds) for part in rounds[0]}


def ratio(over: list[Turn], under: list[Turn], what: str = "rate") -> float:
    """The median of the rounds' own ratios: what slowed a round slowed both."""
    pairs = zip(over, under, strict=True)
    return statistics.median(getattr(a, what) / max(1e-9, getattr(b, what)) for a, b in pairs)
