from __future__ import annotations

import numpy as np
from clipserve_gateway.collection.duplicates import MAX_DUPLICATES, Grouping
from clipserve_gateway.index.values import Hit
from hypothesis import given
from hypothesis import strategies as st


def hits(count: int) -> list[Hit]:
    return [Hit(str(i), 1 - i / 1000, {}) for i in range(count)]


def on_a_circle(*degrees: float) -> dict[str, np.ndarray]:
    angles = np.radians(degrees)
    return {str(i): np.array([np.cos(a), np.sin(a)], np.float32) for i, a in enumerate(angles)}


def grouped(hits, vectors, threshold, limit, part=1_000):
    grouping = Grouping(threshold, limit)
    for first in range(0, len(hits), part):
        some = hits[first : first + part]
        grouping.add(some, np.stack([vectors[hit.id] for hit in some]))
    return grouping.groups


def test_nothing_makes_no_groups():
    grouping = Grouping(0.9, 10)
    grouping.add([], np.empty((0, 2), np.float32))
    assert grouping.groups == []


def test_a_chain_of_small_steps_does_not_join_its_ends():
    near = float(np.cos(np.radians(10.5)))
    groups = grouped(hits(4), on_a_circle(0, 10, 20, 30), near, 10)
    assert [(group.hit.id, [hit.id for hit in group.duplicates]) for group in groups] == [
        ("0", ["1"]),
        ("2", ["3"]),
    ]


def test_a_hit_joins_the_first_group_that_it_is_near_to():
    groups = grouped(hits(3), on_a_circle(0, 40, 20), float(np.cos(np.radians(21))), 10)
    assert [hit.id for hit in groups[0].duplicates] == ["2"]


def test_a_group_keeps_so_many_duplicates_and_no_more():
    count = MAX_DUPLICATES + 50
    [group] = grouped(hits(count), on_a_circle(*[0.0] * count), 0.99, 10)
    assert [hit.id for hit in group.duplicates] == [str(i) for i in range(1, MAX_DUPLICATES + 1)]


@given(
    st.lists(st.floats(0, 360), min_size=1, max_size=40),
    st.floats(0.1, 0.999),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_leaders_are_never_near_each_other_and_members_are_near_their_leader(degrees, threshold, limit, part):
    vectors = on_a_circle(*degrees)
    groups = grouped(hits(len(degrees)), vectors, threshold, limit, part)
    assert groups == grouped(hits(len(degrees)), vectors, threshold, limit)
    assert len(groups) <= limit
    assert groups[0].hit.id == "0"
    leaders = np.stack([vectors[group.hit.id] for group in groups])
    cosines = leaders @ leaders.T - 2 * np.eye(len(leaders))
    assert (cosines < threshold + 1e-6).all()
    for group in groups:
        for hit in group.duplicates:
            assert vectors[hit.id] @ vectors[group.hit.id] > threshold - 2e-6
    if len(groups) < limit:
        assert sum(1 + len(group.duplicates) for group in groups) == len(degrees)


def test_equal_embeddings_are_duplicates_at_the_highest_threshold():
    vector = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    vector /= np.float32(np.linalg.norm(vector)) * np.float32(1.00000003)
    vectors = {str(i): vector for i in range(3)}
    assert len(grouped(hits(3), vectors, 1.0, 10)) == 1
