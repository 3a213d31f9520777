from __future__ import annotations

import pytest
from clipserve_gateway.access.rate import Bucket, Rate

from testing.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_had_at_once_and_then_the_rate(clock):
    bucket = Bucket(Rate(per_second=10, burst=30), clock)
    assert bucket.take(30) == 0
    assert bucket.take(5) == pytest.approx(0.5)
    clock.now += 0.5
    assert bucket.take(5) == 0


def test_what_is_refused_costs_nothing(clock):
    bucket = Bucket(Rate(per_second=1, burst=2), clock)
    bucket.take(2)
    assert [bucket.take(1) for _ in range(5)] == [1.0] * 5


def test_a_pause_is_worth_no_more_than_the_burst(clock):
    bucket = Bucket(Rate(per_second=10, burst=30), clock)
    bucket.take(30)
    clock.now += 3600
    assert bucket.take(30) == 0
    assert bucket.take(1) > 0


def test_a_batch_above_the_burst_waits_for_a_full_bucket_and_leaves_a_debt(clock):
    bucket = Bucket(Rate(per_second=10, burst=10), clock)
    assert bucket.take(100) == 0
    assert bucket.take(1) == pytest.approx(9.1)
    clock.now += 9.5
    assert bucket.take(100) == pytest.approx(0.5), "not before the bucket is full again"
    clock.now += 0.5
    assert bucket.take(100) == 0


def test_reservations_queue_up(clock):
    bucket = Bucket(Rate(per_second=10, burst=10), clock)
    assert [bucket.reserve(10) for _ in range(3)] == [0, pytest.approx(1), pytest.approx(2)]


@pytest.mark.parametrize("cost", [1, 7, 64, 300])
def test_on_average_nobody_gets_more_than_the_rate(clock, cost):
    rate = Rate(per_second=50, burst=100)
    bucket = Bucket(rate, clock)
    had = 0
    for _ in range(10_000):
        clock.now += 0.01
        had += cost if bucket.take(cost) == 0 else 0
    assert had <= 50 * 100 + rate.burst + cost
    assert had >= 50 * 100 - cost
