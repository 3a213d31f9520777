"""One model on one replica: when its canary runs again, and which of its results count."""

from __future__ import annotations

import pytest
from clipserve_gateway.errors import DeadlineExceeded
from clipserve_gateway.triton.canary import PAUSE_SECONDS, CanaryResult, Outcome
from clipserve_gateway.triton.watched_model import IDLE_FRACTION, SILENT_SECONDS, WatchedModel

from testing.clock import Clock

SLOW = CanaryResult(Outcome.RIGHT, seconds=0.2)
MISSING = CanaryResult(Outcome.MISSING, "late", "demo_image")


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def right(clock: Clock, result: CanaryResult = SLOW, canary_seconds: float | None = None) -> WatchedModel:
    """A model in service whose canary has just run."""
    model = WatchedModel(canary_seconds, clock)
    model.record(result)
    assert model.health.in_service
    return model


def due_after(model: WatchedModel, clock: Clock) -> float:
    """Seconds until the canary runs again."""
    begin = clock.now
    while not model.due():
        clock.now += 0.5
    return clock.now - begin


def test_a_model_that_was_never_right_is_always_due(clock):
    assert WatchedModel(None).due()


def test_a_slow_model_is_checked_less_often_unless_the_pause_is_set(clock):
    assert due_after(right(clock), clock) == 13.5
    assert due_after(right(clock, canary_seconds=2.0), clock) == 2
    assert due_after(right(clock, CanaryResult(Outcome.RIGHT, seconds=0.01)), clock) == 5


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.MISSING])
def test_a_canary_without_an_answer_is_soon_run_again(clock, outcome):
    model = right(clock)
    model.record(CanaryResult(outcome))
    assert due_after(model, clock) == 5


def test_a_model_whose_callers_wait_is_checked_sooner(clock):
    model = right(clock)
    with model.calling("demo_image"):
        assert due_after(model, clock) == 5


def test_a_model_whose_callers_gave_up_is_checked_sooner(clock):
    model = right(clock)
    with pytest.raises(DeadlineExceeded), model.calling("demo_image"):
        raise DeadlineExceeded("late")
    assert due_after(model, clock) == 5


def test_a_model_whose_callers_have_waited_only_briefly_is_not_checked_sooner(clock):
    model = right(clock)
    clock.now += 9
    with model.calling("demo_image"):
        assert not model.due()


def test_a_model_that_hangs_for_some_callers_is_checked_sooner(clock):
    model = right(clock)
    with model.calling("demo_image"):
        for _ in range(4):
            with model.calling("demo_text"):
                clock.now += 1
        with model.calling("demo_image"):
            pass
        assert due_after(model, clock) == 5, "after the last answer of the image tower, not of the other"


def test_callers_that_gave_up_are_forgotten_with_the_next_right_answer(clock):
    model = right(clock)
    with pytest.raises(DeadlineExceeded), model.calling("demo_image"):
        raise DeadlineExceeded("late")
    clock.now += 10
    model.record(SLOW)
    assert due_after(model, clock) == 13.5


def test_a_slow_model_is_checked_while_no_call_is_under_way_or_after_its_pause(clock):
    model = right(clock)
    clock.now += 4
    for _ in range(5):
        with model.calling("demo_image"):
            clock.now += 3
            assert not model.due()
        assert model.due() is (clock.now >= 1000 + 20 * IDLE_FRACTION)
    with model.calling("demo_image"):
        clock.now += 1
        assert model.due()


def test_a_right_result_is_reusable_until_the_next_one_is_long_overdue(clock):
    assert WatchedModel(None).reusable_result() is None
    model = right(clock)
    clock.now += 39
    assert model.reusable_result() is SLOW
    clock.now += 1
    assert model.reusable_result() is None
    model.record(SLOW)
    assert model.reusable_result() is SLOW
    model.record(MISSING)
    assert model.health.in_service
    assert model.reusable_result() is None


def test_no_result_is_reusable_while_callers_get_no_answers(clock):
    model = right(clock)
    with model.calling("demo_image"):
        clock.now += 2 * PAUSE_SECONDS
        assert model.reusable_result() is None


def test_a_model_that_answers_its_callers_is_not_checked_sooner(clock):
    model = right(clock)
    for _ in range(10):
        clock.now += 1
        with model.calling("demo_image"):
            pass
    assert due_after(model, clock) == 3.5


def in_service(model: WatchedModel, *results: CanaryResult) -> list[bool]:
    """Whether the model is in service after each of some results."""
    states = []
    for result in results:
        model.record(result)
        states.append(model.health.in_service)
    return states


def test_a_second_miss_in_a_row_takes_it_out_of_service(clock):
    assert in_service(right(clock), MISSING, MISSING) == [True, False]


def test_misses_of_a_tower_that_answers_calls_do_not_count(clock):
    model = right(clock)
    with model.calling("demo_image"):
        pass
    with model.calling("demo_image"):
        assert all(in_service(model, *[MISSING] * 5))
        clock.now += SILENT_SECONDS
        assert in_service(model, MISSING, MISSING) == [True, False]


def test_answers_of_the_other_tower_do_not_excuse_misses(clock):
    model = right(clock)
    with model.calling("demo_image"):
        pass
    with model.calling("demo_text"):
        assert in_service(model, MISSING, MISSING) == [True, False]


def test_a_full_queue_does_not_count_because_others_may_fill_it(clock):
    assert all(in_service(right(clock), *[CanaryResult(Outcome.BUSY, "full", "demo_image")] * 5))


def test_a_version_that_triton_refuses_is_out_of_service_until_it_is_right_again(clock):
    model = right(clock)
    model.unload("not served just now")
    with model.calling("demo_image"):
        pass
    with model.calling("demo_image"):
        assert in_service(model, MISSING, SLOW) == [False, True]
