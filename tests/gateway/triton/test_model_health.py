"""One model on one replica: when it is examined again, and which examinations count."""

from __future__ import annotations

import pytest
from clipserve_gateway.errors import DeadlineExceeded
from clipserve_gateway.triton import model_health
from clipserve_gateway.triton.canary import Finding, Verdict
from clipserve_gateway.triton.model_health import Standing

SLOW = Finding(Verdict.RIGHT, seconds=0.2)
MISSING = Finding(Verdict.MISSING, "late", "demo_image")


class Clock:
    """Passes when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(model_health.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def right(finding: Finding = SLOW) -> Standing:
    """One that has just been examined, and is in service."""
    model = Standing()
    assert model.take(finding)
    model.finding = finding
    return model


def due_after(model: Standing, clock: Clock, wanted: float | None = None) -> float:
    """Seconds until it is examined again."""
    begin = clock.now
    while not model.due(wanted):
        clock.now += 0.5
    return clock.now - begin


def test_what_was_never_right_is_always_due(clock):
    assert Standing().due(None)


def test_a_slow_model_is_examined_less_often_unless_it_is_told_how_often(clock):
    assert due_after(right(), clock) == 13.5
    assert due_after(right(), clock, 2.0) == 2
    assert due_after(right(Finding(Verdict.RIGHT, seconds=0.01)), clock) == 5


@pytest.mark.parametrize("verdict", [Verdict.BUSY, Verdict.MISSING])
def test_an_examination_that_told_nothing_is_soon_made_again(clock, verdict):
    model = right()
    model.take(Finding(verdict))
    assert due_after(model, clock) == 5


def test_one_whose_callers_wait_is_examined_sooner(clock):
    model = right()
    with model.calling("demo_image"):
        assert due_after(model, clock) == 5


def test_one_whose_callers_gave_up_is_examined_sooner(clock):
    model = right()
    with pytest.raises(DeadlineExceeded), model.calling("demo_image"):
        raise DeadlineExceeded("late")
    assert due_after(model, clock) == 5


def test_one_whose_callers_have_waited_for_a_moment_only_is_not(clock):
    model = right()
    clock.now += 9
    with model.calling("demo_image"):
        assert not model.due(None)


def test_one_that_hangs_for_some_callers_is_examined_sooner(clock):
    model = right()
    with model.calling("demo_image"):
        for _ in range(4):
            with model.calling("demo_text"):
                clock.now += 1
        with model.calling("demo_image"):
            pass
        assert due_after(model, clock) == 5, "after the last answer of the image tower, not of the other"


def test_callers_that_gave_up_are_forgotten_with_the_next_right_answer(clock):
    model = right()
    with pytest.raises(DeadlineExceeded), model.calling("demo_image"):
        raise DeadlineExceeded("late")
    clock.now += 10
    model.take(SLOW)
    assert due_after(model, clock) == 13.5


def test_a_slow_model_is_examined_while_nobody_calls_or_when_its_pause_is_over(clock):
    model = right()
    clock.now += 4
    for _ in range(5):
        with model.calling("demo_image"):
            clock.now += 3
            assert not model.due(None)
        assert model.due(None) is (clock.now >= 1000 + 20 * model_health.QUIET)
    with model.calling("demo_image"):
        clock.now += 1
        assert model.due(None)


def test_right_answers_are_told_until_the_next_ones_are_long_overdue(clock):
    assert Standing().recent(None) is None
    model = right()
    clock.now += 39
    assert model.recent(None) is SLOW
    clock.now += 1
    assert model.recent(None) is None
    model.take(SLOW)
    assert model.recent(None) is SLOW
    model.take(MISSING)
    assert model.serves
    assert model.recent(None) is None


def test_who_watches_asks_for_himself_where_callers_get_no_answers(clock):
    model = right()
    with model.calling("demo_image"):
        clock.now += 2 * model_health.PAUSE_SECONDS
        assert model.recent(None) is None


def test_one_that_answers_is_not(clock):
    model = right()
    for _ in range(10):
        clock.now += 1
        with model.calling("demo_image"):
            pass
    assert due_after(model, clock) == 3.5


def test_a_miss_counts_with_the_second_in_a_row(clock):
    model = right()
    assert not model.take(MISSING)
    assert model.take(MISSING)


def test_a_miss_of_a_tower_that_answers_others_says_nothing(clock):
    model = right()
    with model.calling("demo_image"):
        pass
    with model.calling("demo_image"):
        assert not any(model.take(MISSING) for _ in range(5))
        clock.now += model_health.SILENT_SECONDS
        assert [model.take(MISSING) for _ in range(2)] == [False, True]


def test_what_the_other_tower_answers_is_no_excuse(clock):
    model = right()
    with model.calling("demo_image"):
        pass
    with model.calling("demo_text"):
        assert [model.take(MISSING) for _ in range(2)] == [False, True]
