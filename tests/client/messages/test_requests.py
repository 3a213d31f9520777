from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from clipserve.messages.requests import (
    Capacity,
    Item,
    check_list,
    rebaser,
    request_capacity,
    split_items,
)
from clipserve.types import Limits
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits(*range(1, 12))


@given(
    byte_counts=st.lists(st.integers(0, 50), max_size=60),
    max_items=st.integers(1, 10),
    target=st.integers(1, 80),
    maximum=st.integers(50, 100),
)
def test_splitting_keeps_every_item_in_order_within_the_limits(byte_counts, max_items, target, maximum):
    items = [Item(i, f"v{i}", count) for i, count in enumerate(byte_counts)]
    batches = list(split_items(items, Capacity(max_items, maximum, target)))
    assert [item for batch in batches for item in batch] == items
    for batch in batches:
        assert 1 <= len(batch) <= max_items
        total = sum(item.byte_count for item in batch)
        assert total <= maximum
        assert total <= target or len(batch) == 1


@given(byte_counts=st.lists(st.integers(1, 50), min_size=2, max_size=40), max_items=st.integers(1, 10))
def test_no_two_neighboring_requests_would_fit_into_one(byte_counts, max_items):
    items = [Item(i, None, count) for i, count in enumerate(byte_counts)]
    for left, right in itertools.pairwise(split_items(items, Capacity(max_items, 60, 60))):
        full = sum(item.byte_count for item in left) + right[0].byte_count > 60
        assert full or len(left) == max_items


def test_items_are_read_only_as_needed():
    read = []

    def endless():
        i = 0
        while True:
            read.append(i)
            yield Item(i, None, 1)
            i += 1

    batches = split_items(endless(), Capacity(4, 100))
    assert len(next(batches)) == 4
    assert len(read) == 5


def test_requests_have_at_most_the_items_that_a_callback_allows():
    made = []
    for batch in split_items([Item(i, None, 1) for i in range(20)], Capacity(5, 100), lambda: len(made) + 1):
        assert len(batch) <= len(made) + 1
        made.append(len(batch))
    assert made == [1, 2, 3, 4, 5, 5]


def limits(max_items):
    return replace(LIMITS, max_items_per_call=max_items, max_message_bytes=1_001_024)


def test_large_answers_make_small_requests():
    assert request_capacity(limits(256), 64, answer_bytes=100_000).max_items == 10
    assert request_capacity(limits(256), 64).max_items == 64
    assert request_capacity(limits(16), 64).max_items == 16


def test_bytes_that_every_request_repeats_are_subtracted():
    assert request_capacity(limits(9), 9, base_bytes=400_000).max_bytes == 600_000


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("images", "images[1].content", "images[301].content"),
        ("images", "inputs[0].image.content", "images[300].content"),
        ("images", "inputs[0].image.raw.rgb", "images[300].raw.rgb"),
        ("texts", "inputs[2].text", "texts[305]"),
        ("texts", "inputs[2]", "texts[305]"),
        ("points", "points[2].image.content", "points[305].image.content"),
        ("points", 'points[0].payload["a[1]"]', 'points[300].payload["a[1]"]'),
        ("ids", "ids[1]", "ids[301]"),
        ("images", "labels.names[1]", "labels.names[1]"),
        ("images", "model", "model"),
        ("images", "", ""),
        ("images", "images[9].content", "images[9].content"),
    ],
)
def test_paths_have_the_callers_own_positions(name, path, expected):
    assert rebaser(name, [300, 301, 305])(path) == expected


@pytest.mark.parametrize("single", ["a.jpg", b"bytes", np.zeros((2, 2, 3)), 5, None])
def test_a_single_item_in_place_of_a_list_is_refused(single):
    with pytest.raises(TypeError, match="images must be a list of images, not a single"):
        check_list(single, "images", "images")
