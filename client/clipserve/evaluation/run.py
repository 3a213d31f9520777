"""Classifying a labelled set through a server."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clipserve.client import Client
from clipserve.errors import ClipserveError
from clipserve.evaluation.dataset import Dataset, DatasetError
from clipserve.evaluation.scores import Prediction, Ranking, Tally
from clipserve.labels import LabelSet
from clipserve.types import ClassifyResult, ModelRef

TOP = 5
DEFAULT_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Evaluation:
    """How well a model names the pictures of a set."""

    dataset: str
    model: ModelRef
    templates: tuple[str, ...]
    tally: Tally
    predictions: Sequence[Prediction]
    label_seconds: float
    """Time of the first picture, for which the server encodes all prompts unless it knows them already."""
    seconds: float
    """Time of all pictures after that."""

    @property
    def images_per_second(self) -> float:
        """Pictures classified in a second, labels being known."""
        return len(self.predictions) / self.seconds if self.seconds else float("nan")

    def summary(self) -> dict[str, Any]:
        """All that can be said in numbers, ready for JSON."""
        return {
            "dataset": self.dataset,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "images": len(self.predictions),
            "failed": self.tally.failed,
            "classes": len(self.tally.classes),
            "templates": len(self.templates),
            "top1": self.tally.accuracy,
            "top5": self.tally.accuracy5,
            "label_seconds": self.label_seconds,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "per_class": self.tally.per_class(),
            "confusions": self.tally.confusions(20),
            "errors": [{"name": p.name, "error": p.error} for p in self.predictions if p.error][:100],
        }


def evaluate(
    client: Client,
    dataset: Dataset,
    *,
    templates: Sequence[str] | None = None,
    model: str = "",
    timeout: float | None = None,
    started: Callable[[], None] = lambda: None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Classifies every picture. `started` is called once the labels are known to the server.

    Raises ClipserveError where a call fails as a whole; pictures that cannot be read are counted apart.
    """
    if not dataset.samples:
        raise DatasetError(f"{dataset.name} has no pictures")
    ranking = Ranking(dataset.classes)
    chosen = tuple(templates or dataset.templates or DEFAULT_TEMPLATES)
    labels = LabelSet(ranking.labels, chosen)

    def classified(count: int, report: Callable[[int], None] | None) -> ClassifyResult:
        return client.classify(
            (sample.image for sample in dataset.samples[:count]),
            labels,
            top_k=TOP,
            model=model,
            on_error="return",
            progress=report,
            timeout=timeout,
        )

    begun = time.perf_counter()
    classified(1, None)
    ready = time.perf_counter()
    started()
    result = classified(len(dataset.samples), progress)
    seconds = time.perf_counter() - ready
    predictions = [
        Prediction(sample.name, sample.label, (), error=str(found.error))
        if found.error is not None
        else Prediction(sample.name, sample.label, *ranking.ranked(found.scores, TOP))
        for sample, found in zip(dataset.samples, result, strict=True)
    ]
    if result.model is None:
        raise ClipserveError(f"none of the pictures of {dataset.name} can be read: {predictions[0].error}")
    tally = Tally(dataset.classes)
    for prediction in predictions:
        tally.add(prediction)
    return Evaluation(dataset.name, result.model, chosen, tally, predictions, ready - begun, seconds)
