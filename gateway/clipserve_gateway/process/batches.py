"""Splits items into batches that can be worked on at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(
    items: Sequence[T], size_of: Callable[[T], int], max_items: int, max_size: int
) -> Iterator[tuple[Sequence[T], int]]:
    """The items in batches, and the size of each batch. A single item may be larger than `max_size`."""
    start = size = 0
    for i, item in enumerate(items):
        added = size_of(item)
        if i > start and (i - start == max_items or size + added > max_size):
            yield items[start:i], size
            start, size = i, 0
        size += added
    if items:
        yield items[start:], size
