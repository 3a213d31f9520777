from __future__ import annotations

import pytest
from clipserve.jobs.pace import REQUEST_SECONDS, Pace
from hypothesis import given
from hypothesis import strategies as st


def after(requests, fixed, each, most=64):
    """The size of requests after some have been answered, in `fixed` seconds and `each` more an item."""
    pace = Pace(most)
    for _ in range(requests):
        pace.note(pace.size, fixed + each * pace.size)
    return pace.size


def test_the_first_request_has_one_item():
    assert Pace(64).size == 1


@pytest.mark.parametrize(
    ("fixed", "each", "size"),
    [
        (0.001, 0.0001, 64),  # as large as they may be
        (0.0, 0.02, 25),
        (0.0, 0.1, 5),
        (0.0, 2.0, 2),
        (1.0, 0.1, 12),  # a store that is far away: items take as long as the way
    ],
)
def test_requests_take_half_a_second_or_as_long_again_as_the_way(fixed, each, size):
    assert after(30, fixed, each) == pytest.approx(size, abs=1)


def test_requests_become_smaller_where_the_server_becomes_slower():
    pace = Pace(64)
    for _ in range(10):
        pace.note(pace.size, 0.01 * pace.size)
    assert pace.size == 50
    for _ in range(10):
        pace.note(pace.size, 0.1 * pace.size)
    assert pace.size * 0.1 <= REQUEST_SECONDS


@given(
    most=st.integers(1, 256),
    times=st.lists(st.floats(0, 1e6, allow_nan=False, allow_infinity=False), max_size=50),
)
def test_sizes_stay_within_bounds_and_change_by_steps(most, times):
    pace = Pace(most)
    for seconds in times:
        before = pace.size
        pace.note(before, seconds)
        assert 1 <= pace.size <= most
        assert before // 2 <= pace.size <= 2 * before
