from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP, Classifier, own_mode, probability, rank
from clipserve_gateway.inference.label_cache import LabelCache, LabelEmbeddings
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import Embedded, LabelSet, NoneOfTheAbove, ScoreMode

from testing.fakes import SPEC, FakeTriton, fake_models, towers

SOON = Deadline.after(3600)
LABELS = LabelSet(("a", "b", "c"), ("{}",))
AXES = np.eye(3, 8, dtype=np.float32)
EMBEDDINGS = LabelEmbeddings(AXES, 0)


def unit(*numbers: float) -> np.ndarray:
    vector = np.zeros(8, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


@pytest.fixture
async def classifier(embedder):
    return Classifier(await fake_models(), embedder, LabelCache(embedder, 1 << 20, Metrics()))


def test_the_best_labels_come_first_with_their_cosines():
    [result] = rank(SPEC, [Embedded(unit(1, 3, 2))], EMBEDDINGS, LABELS, 2, ScoreMode.SOFTMAX)
    assert [score.label for score in result.scores] == ["b", "c"]
    assert [score.index for score in result.scores] == [1, 2]
    assert result.scores[0].cosine == pytest.approx(3 / np.sqrt(14), abs=1e-6)


def test_equal_scores_keep_the_order_of_the_labels():
    [result] = rank(SPEC, [Embedded(unit(0, 0, 0, 1))], EMBEDDINGS, LABELS, 3, ScoreMode.SOFTMAX)
    assert [score.label for score in result.scores] == ["a", "b", "c"]


def test_top_k_beyond_the_labels_returns_all():
    [result] = rank(SPEC, [Embedded(unit(1))], EMBEDDINGS, LABELS, 100, ScoreMode.SOFTMAX)
    assert len(result.scores) == 3


def test_softmax_probabilities_are_of_all_labels_not_only_of_those_returned():
    [result] = rank(SPEC, [Embedded(unit(1, 1, 1))], EMBEDDINGS, LABELS, 1, ScoreMode.SOFTMAX)
    assert result.scores[0].probability == pytest.approx(1 / 3)


def test_softmax_uses_the_models_own_scale():
    cosines = np.array([[0.3, 0.2, 0.1]], np.float32)
    expected = np.exp(SPEC.logit_scale * cosines.astype(float))
    np.testing.assert_allclose(
        probability(cosines, SPEC.logit_scale * cosines.astype(float), SPEC, ScoreMode.SOFTMAX),
        expected / expected.sum(),
        rtol=1e-6,
    )


def test_independent_scores_have_no_probability_without_a_learned_bias():
    [result] = rank(SPEC, [Embedded(unit(1))], EMBEDDINGS, LABELS, 1, ScoreMode.INDEPENDENT)
    assert result.scores[0].probability is None
    assert result.scores[0].cosine == pytest.approx(1)


def test_independent_scores_are_sigmoids_with_a_learned_bias():
    spec = dataclasses.replace(SPEC, logit_bias=-10.0)
    cosines = np.array([[0.6, -1.0]], np.float32)
    probabilities = probability(cosines, cosines.astype(float), spec, ScoreMode.INDEPENDENT)
    np.testing.assert_allclose(probabilities, [[1 / (1 + np.exp(-2)), 1 / (1 + np.exp(30))]], rtol=1e-5)


SIGLIP = dataclasses.replace(SPEC, logit_scale=117.33, logit_bias=-12.93)
"""Scale and bias as a trained SigLIP has them."""


@pytest.mark.parametrize("cosine", [-1.0, -0.05, 0.0, 0.08, 0.1102, 0.15, 0.3, 1.0])
def test_sigmoid_scores_are_those_of_the_published_formula(cosine):
    image = np.array([cosine, math.sqrt(1 - cosine**2), 0, 0, 0, 0, 0, 0], np.float32)
    labels = LabelSet(("a",), ("{}",))
    [result] = rank(SIGLIP, [Embedded(image)], LabelEmbeddings(AXES[:1], 0), labels, 1, ScoreMode.INDEPENDENT)
    # 1 / (1 + exp(-(scale · cos + bias))) of the cosine that float32 holds, in Python's own float64.
    expected = 1 / (1 + math.exp(-(117.33 * float(np.float32(cosine)) - 12.93)))
    assert result.scores[0].probability == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("scale", "bias"), [(1e4, -5e3), (1e4, 5e3), (0.0, 0.0)])
def test_sigmoids_of_extreme_scales_are_numbers_from_0_to_1(scale, bias):
    spec = dataclasses.replace(SPEC, logit_scale=scale, logit_bias=bias)
    cosines = np.array([[1.0, 0.5, 0.0, -1.0]], np.float32)
    probabilities = probability(cosines, cosines.astype(float), spec, ScoreMode.INDEPENDENT)
    assert np.isfinite(probabilities).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities[0]) <= 0).all()


def test_a_sigmoid_does_not_depend_on_the_other_labels():
    image = Embedded(unit(1, 1, 0, 3))

    def score_of_a(count: int) -> float:
        labels = LabelSet(LABELS.names[:count], ("{}",))
        embeddings = LabelEmbeddings(AXES[:count], 0)
        [result] = rank(SIGLIP, [image], embeddings, labels, 3, ScoreMode.INDEPENDENT)
        return next(score.probability for score in result.scores if score.label == "a")

    assert score_of_a(1) == score_of_a(2) == score_of_a(3)


def test_labels_that_saturate_a_sigmoid_keep_the_order_of_their_cosines():
    spec = dataclasses.replace(SPEC, logit_scale=1e4, logit_bias=0.0)
    [result] = rank(spec, [Embedded(unit(2, 3, 4))], EMBEDDINGS, LABELS, 3, ScoreMode.INDEPENDENT)
    assert [score.probability for score in result.scores] == [1, 1, 1]
    assert [score.label for score in result.scores] == ["c", "b", "a"]


def test_none_of_the_above_with_prompts_has_a_sigmoid_of_its_own():
    labels = LabelSet(("a", "b"), ("{}",), none_of_the_above=NoneOfTheAbove("none", ("a photo.",)))
    [result] = rank(SIGLIP, [Embedded(unit(1, 0, 2))], EMBEDDINGS, labels, 3, ScoreMode.INDEPENDENT)
    best = result.scores[0]
    assert best.label == "none"
    assert best.probability == pytest.approx(1 / (1 + math.exp(-(117.33 * best.cosine - 12.93))))


def test_models_with_a_bias_are_scored_by_sigmoids_by_default():
    assert own_mode(SIGLIP) is ScoreMode.INDEPENDENT
    assert own_mode(dataclasses.replace(SPEC, logit_bias=0.0)) is ScoreMode.INDEPENDENT
    assert own_mode(SPEC) is ScoreMode.SOFTMAX


@pytest.mark.parametrize(
    ("bias", "requested", "used"),
    [
        ({}, None, ScoreMode.SOFTMAX),
        ({}, ScoreMode.INDEPENDENT, ScoreMode.INDEPENDENT),
        ({"logit_bias": "-10"}, None, ScoreMode.INDEPENDENT),
        ({"logit_bias": "-10"}, ScoreMode.SOFTMAX, ScoreMode.SOFTMAX),
    ],
)
async def test_the_outcome_says_how_it_was_scored(embedder, picture, bias, requested, used):
    models = await fake_models(FakeTriton(*towers(**bias)))
    classifier = Classifier(models, embedder, LabelCache(embedder, 1 << 20, Metrics()))
    outcome = await classifier.classify("", [picture(1)], LABELS, top_k=3, mode=requested, deadline=SOON)
    assert outcome.mode is used
    total = sum(score.probability or 0 for score in outcome.items[0].scores)
    assert (total == pytest.approx(1)) is (used is ScoreMode.SOFTMAX)


def test_thresholds_give_a_verdict_for_each_label():
    labels = LabelSet(LABELS.names, LABELS.templates, (0.9, 0.1, 0.5))
    [result] = rank(SPEC, [Embedded(unit(1))], EMBEDDINGS, labels, 3, ScoreMode.INDEPENDENT)
    assert {score.label: score.above_threshold for score in result.scores} == {
        "a": True,
        "b": False,
        "c": False,
    }


def test_a_bad_image_is_answered_among_good_ones():
    items = [Embedded(unit(1)), Embedded(error=InvalidInput("bad")), Embedded(unit(0, 1))]
    results = rank(SPEC, items, EMBEDDINGS, LABELS, 1, ScoreMode.SOFTMAX)
    assert [item.error is None for item in results] == [True, False, True]
    assert [item.scores[0].label for item in results if item.scores] == ["a", "b"]


async def test_many_scores_are_ranked_off_the_loop_with_the_same_result(classifier, picture):
    names = tuple(f"label {i}" for i in range(SCORES_ON_LOOP // 2 + 1))
    labels = LabelSet(names, ("{}",))
    images = [picture(1), picture(2)]
    one = [
        await classifier.classify("", [image], labels, top_k=3, mode=ScoreMode.SOFTMAX, deadline=SOON)
        for image in images
    ]
    both = await classifier.classify("", images, labels, top_k=3, mode=ScoreMode.SOFTMAX, deadline=SOON)
    for alone, item in zip(one, both.items, strict=True):
        assert [score.index for score in alone.items[0].scores] == [score.index for score in item.scores]
