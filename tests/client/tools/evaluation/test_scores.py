from __future__ import annotations

import math

import numpy as np
from clipserve.tools.evaluation.scores import Prediction, Ranking, Tally
from clipserve.types import LabelScore
from hypothesis import given
from hypothesis import strategies as st


def score(label, cosine):
    return LabelScore(label, 0, None, cosine, None)


@given(st.lists(st.tuples(st.integers(0, 5), st.permutations(range(6))), max_size=60))
def test_counts_agree_with_counting_by_hand(outcomes):
    tally = Tally([f"c{i}" for i in range(6)])
    for label, ranked in outcomes:
        tally.add(Prediction("x", label, tuple(ranked[:5])))
    assert tally.answered == len(outcomes)
    if not outcomes:
        assert math.isnan(tally.accuracy)
        return
    right = [label == ranked[0] for label, ranked in outcomes]
    among = [label in ranked[:5] for label, ranked in outcomes]
    assert math.isclose(tally.accuracy, np.mean(right))
    assert math.isclose(tally.accuracy5, np.mean(among))
    for i, row in enumerate(tally.per_class()):
        mine = [hit for hit, (label, _) in zip(right, outcomes, strict=True) if label == i]
        assert row["images"] == len(mine)
        assert math.isnan(row["top1"]) if not mine else math.isclose(row["top1"], np.mean(mine))


def test_failed_pictures_are_counted_apart():
    tally = Tally(["a", "b"])
    tally.add(Prediction("x", 0, (), error="broken"))
    tally.add(Prediction("y", 0, (0, 1)))
    assert (tally.failed, tally.answered, tally.accuracy) == (1, 1, 1.0)


def test_mistakes_are_listed_by_frequency():
    tally = Tally(["a", "b", "c"])
    for label, said in [(0, 0), (0, 1), (0, 1), (2, 1), (1, 1)]:
        tally.add(Prediction("x", label, (said,)))
    assert tally.confusions(9) == [
        {"class": "a", "predicted": "b", "images": 2},
        {"class": "c", "predicted": "b", "images": 1},
    ]


def test_classes_of_one_name_follow_each_other():
    ranking = Ranking(["missile", "cat", "missile", "dog"])
    assert ranking.labels == ("missile", "cat", "dog")
    scores = [score("cat", 0.5), score("missile", 0.4), score("dog", 0.1)]
    assert ranking.ranked(scores, 5) == ((1, 0, 2, 3), (0.5, 0.4, 0.4, 0.1))
    assert ranking.ranked(scores, 2) == ((1, 0), (0.5, 0.4))
