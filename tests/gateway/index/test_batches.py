"""Batches of points, bounded by number and bytes."""

from __future__ import annotations

import pytest
from clipserve_gateway.index.batches import batches
from clipserve_gateway.index.values import Point


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
def test_batches_have_at_most_three_points_and_a_hundred_bytes(sizes, expected):
    points = [Point(str(size)) for size in sizes]
    made = list(batches(points, lambda point: int(point.id), 3, 100))
    assert [([int(point.id) for point in batch], size) for batch, size in made] == expected
