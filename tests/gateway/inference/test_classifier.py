from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.classifier import SCORES_ON_LOOP, Classifier, probability, rank
from clipserve_gateway.inference.label_cache import LabelCache, LabelEmbeddings
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import Embedded, LabelSet, ScoreMode

from testing.fakes import SPEC, fake_models

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
