from __future__ import annotations

import datetime as dt
import time

import pytest
from clipserve_gateway.access.grants import Grant


def test_without_rules_everything_is_allowed_for_ever():
    grant = Grant("ops")
    assert grant.sees_all
    assert grant.sees("anything")
    assert not grant.expired()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("shop_a", True),
        ("shop_", True),
        ("shop", False),
        ("my_shop_a", False),
        ("Shop_a", False),
        ("pets", True),
        ("my-photos", True),
        ("my_photos", False),
        ("pets2", False),
        ("", False),
        ("shop_a\nsecret", True),
        ("shop_" + "a" * 60, False),
    ],
)
def test_a_pattern_is_for_whole_names_and_minds_case(name, seen):
    assert Grant("shop", collections=("shop_*", "my-*", "pets")).sees(name) is seen


def test_long_names_cost_no_time():
    grant = Grant("shop", collections=("*a*a*a*a*a*a*a*a*b",))
    start = time.perf_counter()
    assert not grant.sees("a" * 10_000_000)
    assert not grant.sees("a" * 64)
    assert time.perf_counter() - start < 1


def test_a_grant_ends_at_its_moment():
    now = dt.datetime.now(dt.timezone.utc)
    assert Grant("a", expires=now).expired()
    assert not Grant("a", expires=now + dt.timedelta(hours=1)).expired()
