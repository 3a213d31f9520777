"""The gain of not padding texts, and how the report tells it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from clipserve_exporter import text_speed
from clipserve_exporter.report import text_summary
from clipserve_exporter.source import Source
from clipserve_exporter.text_length import TextLength
from clipserve_exporter.text_speed import TextSpeed, measure_text_speed
from torch import Tensor

Narrow = Callable[..., Source]


class Clock:
    """Time that passes only in the graph, a second for each token."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, per_token: float = 1e-6) -> None:
        self.now, self.per_token, self.batches = 0.0, per_token, [0]
        monkeypatch.setattr(text_speed.time, "perf_counter", lambda: self.now)

    def graph(self, flat: Tensor, lengths: Tensor) -> Tensor:
        """[total], [B, 1] → [B, 1]."""
        self.now += self.per_token * flat.numel()
        self.batches.append(flat.numel())
        return torch.zeros_like(lengths)


def test_the_factor_is_that_of_the_time_of_full_texts(
    narrow: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    found = measure_text_speed(narrow(), clock.graph)
    assert (found.rows, found.tokens) == (8, 12)
    assert found.factor == pytest.approx(77 / 12)


def test_a_very_slow_graph_is_not_run_more_often_than_needed(
    narrow: Narrow, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, per_token=1.0)
    assert measure_text_speed(narrow(), clock.graph).factor == pytest.approx(77 / 12)
    assert clock.batches[1:] == [8 * 12, 8 * 77]


@pytest.mark.parametrize(
    ("length", "speed", "line"),
    [
        (
            TextLength("masked"), TextSpeed(8, 12, 5.08),
            "✓ texts: masked, 5.1 × the speed of full length (8 texts of 12 tokens)",
        ),
        (TextLength("ragged"), None, "✓ texts: ragged, not padded to the full length"),
        (TextLength("fixed"), None, "✓ texts: fixed, each at the full length"),
        (TextLength("fixed", "as requested"), None, "✓ texts: fixed, each at the full length (as requested)"),
    ],
)  # fmt: skip
def test_the_report_tells_the_length_of_texts(length: TextLength, speed: TextSpeed | None, line: str) -> None:
    assert text_summary(length, speed) == line
