from __future__ import annotations

import pytest
from clipserve.errors import Overloaded, RateLimited, ResourceExhausted, Unavailable
from clipserve.retry import CallAttempts, RetryBudget, RetryPolicy
from clipserve.wire.status import BY_CODE, Failure
from hypothesis import given
from hypothesis import strategies as st

UNREACHABLE = Failure(Unavailable("no server"))


def attempts(policy=None, *, budget=None, deadline=100.0, **kwargs):
    policy = policy or RetryPolicy()
    budget = budget or RetryBudget(policy)
    return CallAttempts(policy, budget, deadline=deadline, uniform=lambda low, high: high, **kwargs)


def test_waits_double_up_to_the_longest():
    policy = RetryPolicy(attempts=6, initial_backoff=0.5, max_backoff=2.0, budget=100)
    call = attempts(policy)
    assert [call.next_delay(UNREACHABLE, 0) for _ in range(6)] == [0.5, 1.0, 2.0, 2.0, 2.0, None]


@given(
    count=st.integers(1, 8),
    backoff=st.floats(0.001, 10),
    longest=st.floats(0.001, 10),
    asked=st.one_of(st.none(), st.floats(0, 50)),
    deadline=st.floats(0, 60),
)
def test_no_wait_reaches_beyond_the_deadline_or_the_attempts(count, backoff, longest, asked, deadline):
    policy = RetryPolicy(attempts=count, initial_backoff=backoff, max_backoff=longest, budget=1000)
    call = CallAttempts(policy, RetryBudget(policy), deadline=deadline)
    failure = Failure(Unavailable("later", retry_after=asked))
    now, waits = 0.0, 0
    while (delay := call.next_delay(failure, now)) is not None:
        assert delay >= (asked or 0)
        if asked is None:
            assert delay <= min(longest, backoff * 2**waits)
        now += delay
        waits += 1
        assert now < deadline
    assert waits < count


def test_the_servers_own_delay_is_obeyed():
    assert attempts().next_delay(Failure(Overloaded("busy", retry_after=3.0), answered=True), 0) >= 3.0


def test_a_delay_beyond_the_deadline_gives_up_at_once():
    assert attempts(deadline=2.9).next_delay(Failure(Overloaded("busy", retry_after=3.0)), 0) is None


LIMITED = Failure(RateLimited("10 items a second", retry_after=3.0), answered=True)


def test_a_rate_that_is_used_up_is_waited_for_without_end_but_the_deadlines():
    policy = RetryPolicy(attempts=2, budget=2)
    budget = RetryBudget(policy)
    call = attempts(policy, budget=budget)
    assert all(call.next_delay(LIMITED, 0) >= 3.0 for _ in range(50))
    assert call.next_delay(LIMITED, 98.0) is None
    assert attempts(policy, budget=budget).next_delay(UNREACHABLE, 0) is None, "the budget is for outages"
    assert attempts(RetryPolicy(attempts=1)).next_delay(LIMITED, 0) is None


def test_over_a_limit_is_never_tried_again():
    assert attempts().next_delay(Failure(ResourceExhausted("too large a message")), 0) is None


def test_the_server_may_forbid_retries():
    assert attempts().next_delay(Failure(Unavailable("draining"), may_retry=False), 0) is None


@pytest.mark.parametrize("code", sorted(set(BY_CODE) - {"UNAVAILABLE"}))
def test_other_failures_are_final(code):
    assert attempts().next_delay(Failure(BY_CODE[code]("no")), 0) is None


def test_what_must_not_happen_twice_is_tried_again_only_if_the_server_refused_it():
    assert attempts(idempotent=False).next_delay(UNREACHABLE, 0) is None
    refused = Failure(Unavailable("no model"), answered=True)
    assert attempts(idempotent=False).next_delay(refused, 0) is not None


def test_an_outage_uses_up_the_budget_of_all_calls():
    policy = RetryPolicy(budget=10)
    budget = RetryBudget(policy)
    retried = [attempts(policy, budget=budget).next_delay(UNREACHABLE, 0) is not None for _ in range(20)]
    assert retried == [True] * 4 + [False] * 16


def test_successes_fill_the_budget_again():
    policy = RetryPolicy(budget=10, budget_refill=0.5)
    budget = RetryBudget(policy)
    while budget.failed():
        pass
    assert not budget.failed()
    for _ in range(6):
        budget.succeeded()
    assert budget.failed()


@given(st.lists(st.booleans(), max_size=200), st.floats(1, 50), st.floats(0, 1))
def test_retries_stay_a_bounded_share_of_all_calls(outcomes, capacity, refill):
    budget = RetryBudget(RetryPolicy(budget=capacity, budget_refill=refill))
    allowed = successes = 0
    for succeeded in outcomes:
        if succeeded:
            budget.succeeded()
            successes += 1
        else:
            allowed += budget.failed()
    assert allowed <= capacity / 2 + refill * successes + 1


def test_final_failures_cost_no_budget():
    policy = RetryPolicy(budget=4)
    budget = RetryBudget(policy)
    for _ in range(100):
        attempts(policy, budget=budget).next_delay(Failure(BY_CODE["NOT_FOUND"]("no")), 0)
    assert attempts(policy, budget=budget).next_delay(UNREACHABLE, 0) is not None


def test_a_policy_needs_at_least_one_attempt():
    with pytest.raises(ValueError, match="at least 1"):
        RetryPolicy(attempts=0)
