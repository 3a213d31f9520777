"""None of the above without prompts: negative words stand for everything that is not a label."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
from clipserve_gateway.collection.label_sets import FORMER_PROMPTS, VERSIONS, LabelSets
from clipserve_gateway.errors import DeadlineExceeded, StorageUnavailable
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.classifier import Classifier, rank
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.label_cache import LabelCache, LabelEmbeddings
from clipserve_gateway.inference.negative_words import (
    GENERAL,
    GENERAL_SHARE,
    NEAR,
    NEAREST_LABELS,
    SOFTNESS,
    WEIGHT,
    WORDS,
    NegativeWords,
    embed_directions,
    far_words,
    negative_prompts,
    negative_texts,
)
from clipserve_gateway.inference.text_store import STEP, TextStore
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.types import Embedded, LabelSet, LabelSetRef, NoneOfTheAbove, ScoreMode
from hypothesis import given, settings
from hypothesis import strategies as st

from testing.domain import SOON, picture
from testing.fakes import SPEC, FakeEncoder, fake_models
from testing.memory_engine import MemoryEngine

DIM = 16
NONE = NoneOfTheAbove("nothing")
PETS = LabelSet(("dog", "cat", "bird"), ("a photo of a {}.",))
WITH_NONE = replace(PETS, none_of_the_above=NONE)


def units(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cache(embedder: Embedder, engine: MemoryEngine | None = None) -> LabelCache:
    sets = None if engine is None else LabelSets(engine)
    return LabelCache(embedder, 1 << 20, Metrics(), sets, None if engine is None else TextStore(engine))


def test_there_are_many_words_and_the_general_prompts_are_last() -> None:
    prompts = negative_prompts()
    assert len(set(prompts)) == len(prompts) > 900
    assert prompts[-len(GENERAL) :] == GENERAL
    assert all("{}" not in prompt for prompt in prompts)


def test_the_farthest_words_are_taken_and_none_that_may_mean_a_label() -> None:
    labels, words = units(0, 3), units(1, 900)
    words[10:20] = labels[0]
    negative = far_words(np.vstack([words, units(2, len(GENERAL))]), labels)
    assert not set(negative.far) & set(range(10, 20))
    assert len(negative.far) == WORDS
    words = np.vstack([words, units(2, len(GENERAL))])
    center = words[:900].mean(axis=0)
    cosines = (unit(words - center) @ unit(labels - center).T).max(axis=1)
    taken, left = cosines[negative.far], np.delete(cosines[:900], negative.far)
    assert taken.max() <= left.min()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_where_all_words_are_labels_the_general_prompts_are_left() -> None:
    words = units(1, 30 + len(GENERAL))
    negative = far_words(words, words[:30])
    assert not len(negative.far)
    assert NEAR < 1


def negative(words: np.ndarray, general: np.ndarray) -> NegativeWords:
    return NegativeWords(np.vstack([words, general]), np.arange(len(words)))


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(0, 40), st.floats(0.1, 200), st.integers(0, 99))
def test_labels_stay_in_proportion_and_none_has_the_odds_of_words_against_labels(
    labels: int, words: int, scale: float, seed: int
) -> None:
    matrix, image = units(seed, labels), units(seed + 1, 1)[0]
    others, general = units(seed + 2, words), units(seed + 3, len(GENERAL))
    spec, names = replace(SPEC, logit_scale=scale), tuple("abcdefghi"[:labels])
    [plain] = rank(
        spec, [Embedded(image)], LabelEmbeddings(matrix, 0), LabelSet(names, ("{}",)), 99, ScoreMode.SOFTMAX
    )
    [result] = rank(
        spec,
        [Embedded(image)],
        LabelEmbeddings(matrix, 0, negative=negative(others, general)),
        LabelSet(names, ("{}",), (), NONE),
        99,
        ScoreMode.SOFTMAX,
    )
    scores = {score.label: score for score in result.scores}
    assert len(scores) == labels + 1
    none = scores.pop("nothing")

    def powers(rows: np.ndarray) -> np.ndarray:
        return np.exp(scale / SOFTNESS * ((rows @ image).astype(float) - 1))

    beside = powers(general).mean()
    if words:
        beside = GENERAL_SHARE * beside + (1 - GENERAL_SHARE) * powers(others).mean()
    nearest = np.sort(powers(matrix))[-NEAREST_LABELS:].sum() + max(0, NEAREST_LABELS - labels) * beside
    odds = WEIGHT * (beside / nearest) ** SOFTNESS
    assert none.probability == pytest.approx(odds / (1 + odds), rel=1e-3, abs=1e-9)
    assert none.cosine == pytest.approx(float((np.vstack([others, general]) @ image).max()), abs=1e-6)
    left = 1 - none.probability
    for score in plain.scores:
        assert scores[score.label].probability == pytest.approx(score.probability * left, rel=2e-3, abs=1e-9)
    order = [score.probability for score in result.scores]
    assert order == sorted(order, reverse=True)


def test_labels_that_are_each_on_their_own_are_ranked_by_cosine() -> None:
    image = np.eye(1, DIM, dtype=np.float32)[0]
    near = np.array([[0.8, 0.6, *[0] * (DIM - 2)]], np.float32)
    words = np.repeat(near, 5, axis=0) * np.float32(0.9)
    [result] = rank(
        SPEC,
        [Embedded(image)],
        LabelEmbeddings(near, 0, negative=negative(words, -np.repeat(near, len(GENERAL), axis=0))),
        LabelSet(("a",), ("{}",), (0.9,), NoneOfTheAbove("nothing", (), 0.7)),
        9,
        ScoreMode.INDEPENDENT,
    )
    assert [score.label for score in result.scores] == ["a", "nothing"]
    assert [score.above_threshold for score in result.scores] == [False, True]
    assert result.scores[1].cosine == pytest.approx(0.72)


async def test_words_are_embedded_once_for_all_label_sets_and_restarts(
    embedder: Embedder, encoder: FakeEncoder
) -> None:
    engine = MemoryEngine()
    first = cache(embedder, engine)
    one = await first.get(SPEC, WITH_NONE, SOON)
    assert sum(count for count, _ in encoder.text_batches) == 3 + len(negative_prompts())
    encoder.text_batches.clear()
    other = LabelSet(("car",), ("a photo of a {}.",), (), NONE)
    two = await first.get(SPEC, other, SOON)
    assert await first.get(SPEC, WITH_NONE, SOON) is one, "chosen once for each label set"
    await cache(embedder, engine).get(SPEC, other, SOON)
    assert sum(count for count, _ in encoder.text_batches) == 2
    assert one.negative is not None
    assert two.negative is not None
    assert one.negative.embeddings is two.negative.embeddings
    assert one.matrix.shape[0] == 3


async def test_words_that_were_embedded_before_a_deadline_are_not_embedded_again(
    embedder: Embedder, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, embed = negative_texts(None), functools.partial(embed_directions, embedder, SPEC)
    deadlines = iter([SOON, SOON, Deadline.after(-1)])
    with pytest.raises(DeadlineExceeded):
        await words.get(SPEC.fingerprint, SPEC.embed_dim, lambda: next(deadlines), embed)
    assert sum(count for count, _ in encoder.text_batches) == STEP
    found = await words.get(SPEC.fingerprint, SPEC.embed_dim, lambda: SOON, embed)
    assert sum(count for count, _ in encoder.text_batches) == len(negative_prompts())
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


async def test_a_store_that_does_not_answer_fails_no_call(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = MemoryEngine()

    async def away(key: str) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(engine, "get_document", away)
    embeddings = await cache(embedder, engine).get(SPEC, WITH_NONE, SOON)
    assert embeddings.negative is not None
    assert len(embeddings.negative.embeddings) == len(negative_prompts())


async def test_a_picture_gets_all_answers(embedder: Embedder) -> None:
    classifier = Classifier(await fake_models(), embedder, cache(embedder))
    outcome = await classifier.classify(
        "", [picture(1)], WITH_NONE, top_k=9, mode=ScoreMode.SOFTMAX, deadline=SOON
    )
    scores = {score.label: score for score in outcome.items[0].scores}
    assert {label: score.index for label, score in scores.items()} == {
        "dog": 0,
        "cat": 1,
        "bird": 2,
        "nothing": 3,
    }
    assert sum(score.probability for score in scores.values()) == pytest.approx(1)


async def test_stored_label_sets_keep_the_rule_of_their_version(
    embedder: Embedder, encoder: FakeEncoder
) -> None:
    engine = MemoryEngine()
    sets = LabelSets(engine)
    by_prompts = replace(PETS, none_of_the_above=replace(NONE, prompts=FORMER_PROMPTS))
    await sets.put("pets", by_prompts)
    old = await engine.get_document(f"{VERSIONS}pets/1")
    assert old is not None
    assert "negative_words" not in json.loads(old.value)["labels"]["none_of_the_above"], "as releases before"
    stored, created = await sets.put("pets", WITH_NONE)
    assert (stored.ref.version, created) == (2, True)
    assert not (await sets.put("pets", WITH_NONE))[1]
    again = LabelSets(engine)
    assert (await again.get(LabelSetRef("pets", 1))).labels == by_prompts
    assert (await again.get(LabelSetRef("pets", 2))).labels == WITH_NONE
    new = await engine.get_document(f"{VERSIONS}pets/2")
    assert new is not None
    assert tuple(json.loads(new.value)["labels"]["none_of_the_above"]["prompts"]) == FORMER_PROMPTS, (
        "what releases before score it by"
    )
    one, two = [
        await cache(embedder, engine).get(SPEC, labels, SOON, LabelSetRef("pets", version))
        for version, labels in ((1, by_prompts), (2, WITH_NONE))
    ]
    assert (len(one.matrix), one.negative) == (4, None)
    assert len(two.matrix) == 3
    assert two.negative is not None
    encoder.text_batches.clear()
    again_two = await cache(embedder, engine).get(SPEC, WITH_NONE, SOON, LabelSetRef("pets", 2))
    assert encoder.text_batches == []
    assert again_two.negative is not None
    np.testing.assert_array_equal(again_two.negative.far, two.negative.far)
