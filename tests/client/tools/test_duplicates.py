from __future__ import annotations

import clipserve.tools.duplicates
import numpy as np
import pytest
from clipserve.tools.duplicates import find_groups
from hypothesis import given
from hypothesis import strategies as st


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def on_circle(*degrees):
    """float32 [N, 2]: points at these angles; the cosine of two is that of their difference."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def by_hand(embeddings, threshold, order):
    """The same groups, one point after the other and in doubles."""
    exact = embeddings.astype(np.float64)
    leaders, members = [], {}
    for row in order:
        near = [(exact[row] @ exact[leader], -place) for place, leader in enumerate(leaders)]
        best = max(near, default=(-2.0, 0))
        if best[0] >= threshold:
            members.setdefault(leaders[-best[1]], set()).add(row)
        else:
            leaders.append(row)
    return members


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(clipserve.tools.duplicates, "ROWS", 7)
    monkeypatch.setattr(clipserve.tools.duplicates, "COLUMNS", 5)


@pytest.mark.usefixtures("small_blocks")
def test_groups_are_those_found_by_comparing_one_by_one():
    generator = np.random.default_rng(3)
    centers = unit(generator.normal(size=(12, 8)))
    embeddings = unit(centers[generator.integers(0, 12, 90)] + 0.09 * generator.normal(size=(90, 8)))
    order = generator.permutation(90)
    groups = find_groups(embeddings, 0.93, order=order)
    assert {group.members[0]: set(group.members[1:]) for group in groups} == by_hand(embeddings, 0.93, order)
    assert len(groups) > 5


@pytest.mark.usefixtures("small_blocks")
@given(
    degrees=st.lists(st.integers(0, 359), min_size=1, max_size=40),
    within=st.sampled_from([2.5, 7.5, 20.5]),
)
def test_every_member_is_near_to_its_first_and_firsts_are_apart(degrees, within):
    embeddings = on_circle(*degrees)
    threshold = float(np.cos(np.radians(within)))
    groups = find_groups(embeddings, threshold)
    seen = [row for group in groups for row in group.members]
    assert len(seen) == len(set(seen))
    for group in groups:
        first = group.members[0]
        assert first == min(group.members)
        for row, cosine in zip(group.members, group.cosines, strict=True):
            assert cosine == pytest.approx(float(embeddings[row] @ embeddings[first]), abs=1e-5)
            assert cosine >= threshold - 1e-5
    joined = {row for group in groups for row in group.members[1:]}
    left = embeddings[[row for row in range(len(degrees)) if row not in joined]]
    assert (np.triu(left @ left.T, 1) < threshold).all()


def test_a_long_chain_does_not_swallow_different_pictures():
    chain = on_circle(*range(0, 90, 5))
    groups = find_groups(chain, float(np.cos(np.radians(5.1))))
    assert max(len(group.members) for group in groups) == 2
    assert all(abs(group.members[0] - row) <= 1 for group in groups for row in group.members)


def test_the_preferred_leads_and_the_largest_group_comes_first():
    embeddings = on_circle(0, 1, 90, 91, 92, 180)
    [large, small] = find_groups(embeddings, 0.99, order=[5, 3, 4, 2, 1, 0])
    assert large.members == (3, 4, 2)
    assert small.members == (1, 0)
    assert large.cosines[0] == 1.0


def test_equal_embeddings_are_duplicates_whatever_rounding_does():
    row = unit(np.random.default_rng(5).normal(size=(1, 768)))
    [group] = find_groups(np.repeat(row, 5, axis=0), 1.0)
    assert sorted(group.members) == [0, 1, 2, 3, 4]


def test_a_member_joins_the_nearest_of_several_firsts():
    [group] = find_groups(on_circle(0, 10, 6), float(np.cos(np.radians(7))))
    assert group.members == (1, 2)


@pytest.mark.usefixtures("small_blocks")
def test_progress_counts_the_points_looked_at():
    seen = []
    assert find_groups(on_circle(*range(0, 320, 16)), 0.999, progress=seen.append) == []
    assert seen == [7, 14, 20]


def test_nothing_has_no_groups():
    assert find_groups(np.empty((0, 4), np.float32), 0.9) == []


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_thresholds_that_mean_nothing_are_refused(threshold):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        find_groups(on_circle(0), threshold)
