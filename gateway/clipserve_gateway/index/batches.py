"""Splits points into batches that an engine can write at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from clipserve_gateway.index.values import Point


def batches(
    points: Sequence[Point], bytes_of: Callable[[Point], int], max_points: int, max_bytes: int
) -> Iterator[tuple[Sequence[Point], int]]:
    """The points in batches, and the bytes of each batch. A single point may have more than `max_bytes`."""
    start = size = 0
    for i, point in enumerate(points):
        added = bytes_of(point)
        if i > start and (i - start == max_points or size + added > max_bytes):
            yield points[start:i], size
            start, size = i, 0
        size += added
    if points:
        yield points[start:], size
