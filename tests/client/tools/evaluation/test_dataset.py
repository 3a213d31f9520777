"""The set that is evaluated."""

from __future__ import annotations

from clipserve.tools.evaluation.dataset import Dataset, Sample


def test_a_limit_takes_samples_evenly():
    dataset = Dataset("x", ("a", "b"), [Sample(f"{i}", b"", i // 50) for i in range(100)])
    limited = dataset.limited(10)
    assert [s.name for s in limited.samples] == [str(i) for i in range(0, 100, 10)]
    assert dataset.limited(None) is dataset
    assert dataset.limited(500) is dataset
