"""The canary: sends the recorded inputs, and compares the answers with the recorded embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from clipserve_gateway import errors
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.triton.canary import Outcome, compare, pause_after, run_canary
from clipserve_gateway.triton.model_config import parse_model
from clipserve_gateway.types import Floats, ModelSpec, TokenizerSpec

from testing.fakes import DIM, SPEC, FakeEncoder, canary_parameters, sums, towers


class Failing(FakeEncoder):
    """Answers with an error."""

    def __init__(self, error: errors.ClipserveError) -> None:
        super().__init__()
        self.error = error

    async def _answer(self, batch: np.ndarray, found: np.ndarray) -> Floats:
        raise self.error


@pytest.fixture
def spec() -> ModelSpec:
    """The fake model with what it really answers."""
    return parse_model(*towers(**canary_parameters()))


async def test_a_model_that_answers_as_recorded_is_right(spec):
    assert (await run_canary(FakeEncoder(), spec, Deadline.after(5))).outcome is Outcome.RIGHT


@pytest.mark.parametrize("tower", ["image", "text"])
async def test_another_answer_is_wrong_and_the_tower_is_named(spec, tower):
    other = np.random.default_rng(3).standard_normal(DIM).astype("<f4").tobytes()
    canary = dataclasses.replace(spec.canary, **{f"{tower}_embedding": other})
    result = await run_canary(FakeEncoder(), dataclasses.replace(spec, canary=canary), Deadline.after(5))
    assert result.outcome is Outcome.WRONG
    assert f"fake_{tower}: cosine" in result.detail


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.ModelUnavailable("gone"), Outcome.MISSING),
        (errors.DeadlineExceeded("late"), Outcome.MISSING),
        (errors.Overloaded("full"), Outcome.BUSY),
        (errors.InferenceFailed("CUDA error"), Outcome.WRONG),
    ],
)
async def test_errors_are_told_apart(spec, error, outcome):
    result = await run_canary(Failing(error), spec, Deadline.after(5))
    assert result.outcome is outcome
    assert error.message in result.detail


async def test_a_model_without_a_canary_has_an_unknown_outcome():
    assert (await run_canary(FakeEncoder(), SPEC, Deadline.after(5))).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ([1.0, 0.0], ""),
        ([0.999, 0.01], ""),
        ([1.05, 0.0], "length"),
        ([1.0, 0.1], "cosine"),
        ([np.nan, 0.0], "length is nan"),
        ([0.0, 0.0], "length is 0"),
    ],
)
def test_answers_are_compared_by_direction_and_length(answer, complaint):
    result = compare(np.array(answer, np.float32), np.array([1.0, 0.0], np.float32))
    assert complaint in result
    assert bool(result) == bool(complaint)


async def test_recorded_ids_are_sent_where_the_tokenizer_comes_from_triton(spec):
    own = TokenizerSpec(77, kind="huggingface", sha256="a" * 64, pad_id=1, vocab_size=100)
    canary = dataclasses.replace(spec.canary, text_ids=(5, 6, 1), text_embedding=embedding_of(5, 6, 1))
    model = dataclasses.replace(spec, tokenizer=own, canary=canary)
    encoder = FakeEncoder()
    assert (await run_canary(encoder, model, Deadline.after(5))).outcome is Outcome.RIGHT
    assert encoder.text_batches == [(1, 3)]


def embedding_of(*ids: int) -> bytes:
    """What FakeEncoder answers."""
    return sums(np.array([ids])).astype("<f4").tobytes()


@pytest.mark.parametrize("tower", ["image", "text"])
async def test_the_result_names_the_tower_that_failed(spec, tower):
    other = np.random.default_rng(3).standard_normal(DIM).astype("<f4").tobytes()
    canary = dataclasses.replace(spec.canary, **{f"{tower}_embedding": other})
    result = await run_canary(FakeEncoder(), dataclasses.replace(spec, canary=canary), Deadline.after(5))
    assert result.tower == f"fake_{tower}"


async def test_a_canary_that_cannot_be_read_is_a_bad_export(spec):
    canary = dataclasses.replace(spec.canary, image=b"no picture")
    result = await run_canary(FakeEncoder(), dataclasses.replace(spec, canary=canary), Deadline.after(5))
    assert result.outcome is Outcome.WRONG
    assert "a canary that cannot be read" in result.detail


@pytest.mark.parametrize(
    ("took", "wanted", "pause"),
    [
        (0.0, None, 5.0),
        (0.04, None, 5.0),
        (0.2, None, 20.0),
        (7.0, None, 30.0),
        (7.0, 0.5, 0.5),
        (0.0, 60.0, 60.0),
    ],
)
def test_slow_models_are_checked_less_often_unless_the_pause_is_set(took, wanted, pause):
    assert pause_after(took, wanted) == pytest.approx(pause)
