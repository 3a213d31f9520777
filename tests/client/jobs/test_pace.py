from __future__ import annotations

import pytest
from clipserve.jobs.pace import REQUEST_SECONDS, Pace
from hypothesis import given
from hypothesis import strategies as st


def after(requests, fixed, each, max_items=64):
    """Items of the next request, after requests that took `fixed` seconds plus `each` per item."""
    pace = Pace(max_items)
    for _ in range(requests):
        pace.record(pace.items, fixed + each * pace.items)
    return pace.items


def test_the_first_request_has_one_item():
    assert Pace(64).items == 1


@pytest.mark.parametrize(
    ("fixed", "each", "items"),
    [
        (0.001, 0.0001, 64),  # the maximum
        (0.0, 0.02, 25),
        (0.0, 0.1, 5),
        (0.0, 2.0, 2),
        (1.0, 0.1, 12),  # a distant server: as long for the items as for the round trip
    ],
)
def test_requests_take_half_a_second_or_twice_the_fixed_time(fixed, each, items):
    assert after(30, fixed, each) == pytest.approx(items, abs=1)


def test_requests_become_smaller_when_the_server_becomes_slower():
    pace = Pace(64)
    for _ in range(10):
        pace.record(pace.items, 0.01 * pace.items)
    assert pace.items == 50
    for _ in range(10):
        pace.record(pace.items, 0.1 * pace.items)
    assert pace.items * 0.1 <= REQUEST_SECONDS


@given(
    max_items=st.integers(1, 256),
    times=st.lists(st.floats(0, 1e6, allow_nan=False, allow_infinity=False), max_size=50),
)
def test_sizes_stay_within_bounds_and_change_by_steps(max_items, times):
    pace = Pace(max_items)
    for seconds in times:
        before = pace.items
        pace.record(before, seconds)
        assert 1 <= pace.items <= max_items
        assert before // 2 <= pace.items <= 2 * before
