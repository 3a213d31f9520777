"""Counts right and wrong predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve.types import LabelScore

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prediction:
    """The prediction of one picture."""

    name: str
    label: int
    """The right class."""
    ranked: tuple[int, ...]
    """Class indexes, the best first; empty if the picture failed."""
    cosines: tuple[float, ...] = ()
    """Of `ranked`."""
    error: str = ""


@dataclass
class Tally:
    """Counts over C classes."""

    classes: Sequence[str]
    confusion: Counts = field(init=False)
    """int64 [C, C]: rows are right classes, columns are best labels."""
    top5: Counts = field(init=False)
    """int64 [C]: pictures with the right class among the best five."""
    failed: int = 0

    def __post_init__(self) -> None:
        count = len(self.classes)
        self.confusion = np.zeros((count, count), np.int64)
        self.top5 = np.zeros(count, np.int64)

    def add(self, prediction: Prediction) -> None:
        """Counts one picture. Failed pictures are counted apart."""
        if not prediction.ranked:
            self.failed += 1
            return
        self.confusion[prediction.label, prediction.ranked[0]] += 1
        self.top5[prediction.label] += prediction.label in prediction.ranked[:5]

    @property
    def answered(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of classified pictures whose best label is right, 0 to 1; NaN without pictures."""
        return share(int(np.trace(self.confusion)), self.answered)

    @property
    def accuracy5(self) -> float:
        """Share of classified pictures with the right label among the best five; NaN without pictures."""
        return share(int(self.top5.sum()), self.answered)

    def per_class(self) -> list[dict[str, Any]]:
        """Name, pictures, top-1 and top-5 accuracy of each class."""
        totals = self.confusion.sum(axis=1)
        return [
            {
                "class": name,
                "images": int(totals[i]),
                "top1": share(int(self.confusion[i, i]), int(totals[i])),
                "top5": share(int(self.top5[i]), int(totals[i])),
            }
            for i, name in enumerate(self.classes)
        ]

    def confusions(self, count: int) -> list[dict[str, Any]]:
        """The most frequent mistakes: right class, label given instead, pictures."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        flat = np.argsort(-wrong, axis=None, kind="stable")[:count]
        return [
            {"class": self.classes[right], "predicted": self.classes[said], "images": int(wrong[right, said])}
            for right, said in zip(*np.unravel_index(flat, wrong.shape), strict=True)
            if wrong[right, said]
        ]


def share(part: int, whole: int) -> float:
    """part / whole; NaN for 0 / 0."""
    return part / whole if whole else float("nan")


class Ranking:
    """Maps labels to classes. Two classes may have the same name."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes_of: dict[str, list[int]] = {}
        for i, name in enumerate(classes):
            self._classes_of.setdefault(name, []).append(i)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self._classes_of)

    def ranked(self, scores: Sequence[LabelScore], count: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """The best `count` classes and their cosines. Classes with the same name follow each other."""
        pairs = [(i, score.cosine) for score in scores for i in self._classes_of[score.label]][:count]
        return tuple(i for i, _ in pairs), tuple(cosine for _, cosine in pairs)
