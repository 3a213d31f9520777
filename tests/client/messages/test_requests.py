from __future__ import annotations

import itertools

import numpy as np
import pytest
from clipserve.messages.requests import Item, Room, check_list, cut, rebaser, room_for
from hypothesis import given
from hypothesis import strategies as st


@given(
    sizes=st.lists(st.integers(0, 50), max_size=60),
    items=st.integers(1, 10),
    soft=st.integers(1, 80),
    hard=st.integers(50, 100),
)
def test_cutting_keeps_every_item_in_order_within_the_limits(sizes, items, soft, hard):
    given_items = [Item(i, f"v{i}", size) for i, size in enumerate(sizes)]
    batches = list(cut(given_items, Room(items, hard, soft)))
    assert [item for batch in batches for item in batch] == given_items
    for batch in batches:
        assert 1 <= len(batch) <= items
        total = sum(item.size for item in batch)
        assert total <= hard
        assert total <= soft or len(batch) == 1


@given(sizes=st.lists(st.integers(1, 50), min_size=2, max_size=40), items=st.integers(1, 10))
def test_no_two_neighboring_requests_would_fit_into_one(sizes, items):
    room = Room(items, 60, 60)
    batches = list(cut([Item(i, None, size) for i, size in enumerate(sizes)], room))
    for left, right in itertools.pairwise(batches):
        full = sum(item.size for item in left) + right[0].size > 60
        assert full or len(left) == items


def test_items_are_drawn_only_as_needed():
    drawn = []

    def endless():
        i = 0
        while True:
            drawn.append(i)
            yield Item(i, None, 1)
            i += 1

    batches = cut(endless(), Room(4, 100))
    assert len(next(batches)) == 4
    assert len(drawn) == 5


def test_requests_grow_as_they_are_told_to():
    made = []
    for batch in cut([Item(i, None, 1) for i in range(20)], Room(5, 100), lambda: len(made) + 1):
        assert len(batch) <= len(made) + 1
        made.append(len(batch))
    assert made == [1, 2, 3, 4, 5, 5]


def test_wide_answers_make_small_requests():
    room = room_for(max_items=256, max_message_bytes=1_001_024, answer_bytes=100_000, batch_size=64)
    assert room.items == 10
    assert room_for(max_items=256, max_message_bytes=1_001_024, batch_size=64).items == 64
    assert room_for(max_items=16, max_message_bytes=1_001_024, batch_size=64).items == 16


def test_bytes_that_every_request_repeats_are_taken_off():
    room = room_for(max_items=9, max_message_bytes=1_001_024, base_bytes=400_000, batch_size=9)
    assert room.fits(600_000)
    assert not room.fits(600_001)


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
def test_paths_are_told_in_the_callers_own_positions(name, path, expected):
    assert rebaser(name, [300, 301, 305])(path) == expected


@pytest.mark.parametrize("single", ["a.jpg", b"bytes", np.zeros((2, 2, 3)), 5, None])
def test_a_single_item_in_place_of_a_list_is_refused(single):
    with pytest.raises(TypeError, match="images must be a list of images, not a single"):
        check_list(single, "images", "images")
