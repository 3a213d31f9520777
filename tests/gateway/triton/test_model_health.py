"""The rule that puts a model into service and takes it out, result by result."""

from __future__ import annotations

import pytest
from clipserve_gateway.triton.canary import CanaryResult, Outcome
from clipserve_gateway.triton.model_health import ModelHealth, State
from hypothesis import given
from hypothesis import strategies as st

RIGHT = CanaryResult(Outcome.RIGHT)
UNKNOWN = CanaryResult(Outcome.UNKNOWN, "exported without a canary")
WRONG = CanaryResult(Outcome.WRONG, "demo_image: cosine 0.31", "demo_image")
MISSING = CanaryResult(Outcome.MISSING, "demo_image: late", "demo_image")
BUSY = CanaryResult(Outcome.BUSY, "demo_image: the queue is full", "demo_image")


def health(*results: CanaryResult, progressed: bool | None = False) -> ModelHealth:
    """After these results, one each second from 0 on."""
    model = ModelHealth()
    for now, result in enumerate(results):
        model.update(result, progressed, now)
    return model


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ([], State.NEW),
        ([RIGHT], State.HEALTHY),
        ([UNKNOWN], State.HEALTHY),
        ([WRONG], State.WRONG),
        ([MISSING], State.NEW),
        ([MISSING, MISSING], State.SILENT),
        ([RIGHT, MISSING], State.SUSPECT),
        ([RIGHT, BUSY], State.SUSPECT),
        ([RIGHT, MISSING, BUSY], State.SILENT),
        ([RIGHT, MISSING, RIGHT, MISSING], State.SUSPECT),
        ([RIGHT, MISSING, WRONG], State.WRONG),
        ([RIGHT, WRONG, MISSING], State.WRONG),
        ([RIGHT, WRONG, MISSING, MISSING], State.SILENT),
        ([RIGHT, WRONG, RIGHT], State.HEALTHY),
        ([RIGHT, MISSING, MISSING, RIGHT], State.HEALTHY),
    ],
)
def test_results_lead_from_state_to_state(results, state):
    model = health(*results)
    assert model.state is state
    assert model.in_service is (state in (State.HEALTHY, State.SUSPECT))


@pytest.mark.parametrize("silence", [MISSING, BUSY])
def test_no_answer_does_not_count_while_the_tower_answers_others(silence):
    model = health(RIGHT)
    for now in range(1, 20):
        model.update(silence, True, now)
        assert model.state is State.HEALTHY
        assert model.trouble_since is None


@pytest.mark.parametrize("silence", [MISSING, BUSY])
def test_progress_brings_back_a_model_that_was_only_silent(silence):
    model = health(RIGHT, MISSING, MISSING)
    model.update(silence, True, 3)
    assert model.state is State.HEALTHY


@pytest.mark.parametrize(
    "before", [[MISSING, MISSING], [RIGHT, WRONG], [RIGHT, WRONG, MISSING, MISSING], [WRONG]]
)
def test_progress_does_not_excuse_a_model_whose_last_answer_was_not_right(before):
    model = health(*before)
    for now in range(10, 15):
        model.update(MISSING, True, now)
        assert not model.in_service


def test_a_full_queue_says_nothing_if_progress_is_not_known():
    model = health(RIGHT)
    for now in range(1, 5):
        model.update(BUSY, None, now)
    assert (model.state, model.result, model.trouble_since) == (State.HEALTHY, RIGHT, None)
    model.update(MISSING, None, 5)
    model.update(BUSY, None, 6)
    assert model.state is State.SUSPECT
    model.update(MISSING, None, 7)
    assert model.state is State.SILENT


def test_how_many_misses_are_allowed_can_be_set():
    model = ModelHealth(allowed_misses=3)
    states = []
    for now, result in enumerate([RIGHT, MISSING, MISSING, MISSING]):
        model.update(result, False, now)
        states.append(model.state)
    assert states == [State.HEALTHY, State.SUSPECT, State.SUSPECT, State.SILENT]


def test_trouble_lasts_from_the_first_bad_result_to_the_next_right_one():
    model = health(RIGHT, MISSING, WRONG, WRONG)
    assert (model.trouble_since, model.wrong_in_a_row, model.symptom) == (1, 2, "answers wrong")
    model.update(MISSING, False, 4)
    assert (model.trouble_since, model.wrong_in_a_row, model.symptom) == (1, 0, "does not answer")
    model.update(RIGHT, False, 5)
    assert model.trouble_since is None


def test_what_triton_loads_again_must_be_right_again_before_progress_excuses_it():
    model = health(RIGHT)
    model.reload()
    assert model.in_service
    assert not model.was_healthy_since_load
    model.update(MISSING, True, 1)
    assert model.state is State.SUSPECT


def test_a_model_that_triton_does_not_serve_any_more_is_out_of_service_at_once():
    model = health(RIGHT)
    model.unload("not served just now", 1)
    assert (model.state, model.result.detail) == (State.SILENT, "not served just now")
    model.update(MISSING, True, 2)
    assert not model.in_service, "other calls still finish, but new ones are refused"
    model.update(RIGHT, None, 3)
    assert model.in_service


@given(
    st.lists(st.tuples(st.sampled_from([RIGHT, UNKNOWN, WRONG, MISSING, BUSY]), st.none() | st.booleans()))
)
def test_whatever_happened_a_wrong_answer_takes_it_out_and_a_right_one_puts_it_in(history):
    model = ModelHealth()
    for now, (result, progressed) in enumerate(history):
        model.update(result, progressed, now)
        if result is WRONG:
            assert model.state is State.WRONG
        if result.ok:
            assert model.state is State.HEALTHY
        assert model.in_service or model.state is State.NEW or model.trouble_since is not None
