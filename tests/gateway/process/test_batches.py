"""Batches of items, bounded by number and size."""

from __future__ import annotations

import pytest
from clipserve_gateway.process.batches import batches


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([200], [([200], 200)]),
        ([10, 10, 10, 10], [([10, 10, 10], 30), ([10], 10)]),
        ([60, 40, 1], [([60, 40], 100), ([1], 1)]),
        ([1, 200, 1], [([1], 1), ([200], 200), ([1], 1)]),
    ],
)
def test_batches_have_at_most_three_items_and_a_size_of_a_hundred(sizes, expected):
    assert list(batches(sizes, int, 3, 100)) == expected
