"""Classifies a labelled data set with a server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipserve.client import Client
from clipserve.errors import Unimplemented
from clipserve.labels import LabelSet
from clipserve.tools.evaluation.dataset import Dataset, DatasetError, Sample
from clipserve.tools.evaluation.scores import Prediction, Ranking, Tally
from clipserve.types import Classification, ClassifyResult, LabelWarning, ModelRef

TOP = 5
DEFAULT_TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on a data set."""

    dataset: str
    model: ModelRef
    templates: tuple[str, ...]
    tally: Tally
    predictions: Sequence[Prediction]
    label_seconds: float
    """Seconds until the first picture is classified, which includes the encoding of new prompts."""
    seconds: float
    """Seconds for all pictures after that."""
    truncated_prompts: int = 0
    """Number of prompts that were cut off, as they are longer than the model's context."""
    warnings: tuple[LabelWarning, ...] = ()
    """Warnings about the labels."""

    @property
    def images_per_second(self) -> float:
        """Pictures per second after the labels are encoded."""
        return len(self.predictions) / self.seconds if self.seconds else float("nan")

    @property
    def unread_classes(self) -> tuple[str, ...]:
        counted = self.tally.confusion.sum(axis=1)
        failed = sorted({prediction.label for prediction in self.predictions if prediction.error})
        return tuple(self.tally.classes[label] for label in failed if not counted[label])

    def summary(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "images": len(self.predictions),
            "failed": self.tally.failed,
            "unread_classes": list(self.unread_classes),
            "classes": len(self.tally.classes),
            "templates": len(self.templates),
            "top1": self.tally.accuracy,
            "top5": self.tally.accuracy5,
            "label_seconds": self.label_seconds,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "truncated_prompts": self.truncated_prompts,
            "warnings": [asdict(warning) for warning in self.warnings],
            "per_class": self.tally.per_class(),
            "confusions": self.tally.confusions(20),
            "errors": [{"name": p.name, "error": p.error} for p in self.predictions if p.error][:100],
        }


class Evaluator:
    """Classifies every picture of a data set: first encode_labels, then run."""

    def __init__(
        self,
        client: Client,
        dataset: Dataset,
        *,
        templates: Sequence[str] = (),
        model: str = "",
    ) -> None:
        if not dataset.samples:
            raise DatasetError(f"{dataset.name} has no pictures")
        self.dataset = dataset
        self.ranking = Ranking(dataset.classes)
        self.templates = tuple(templates) or dataset.templates or DEFAULT_TEMPLATES
        self._labels = LabelSet(self.ranking.labels, self.templates)
        self._client = client
        self._model = model
        self._label_seconds = 0.0

    def encode_labels(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Lets the server encode new prompts and classify one picture.

        `progress` is called with the number of encoded prompts and the number of all prompts.
        """
        begun = time.perf_counter()
        # An older server encodes them with the first picture.
        with contextlib.suppress(Unimplemented):
            self._client.prepare_labels(self._labels, model=self._model, progress=progress)
        self._classify(1, None)
        self._label_seconds = time.perf_counter() - begun

    def run(self, progress: Callable[[int], None] | None = None) -> Evaluation:
        """Classifies all pictures. Unreadable pictures are counted apart.

        Raises ClipserveError if a whole call fails, DatasetError if no picture can be read.
        """
        begun = time.perf_counter()
        result = self._classify(len(self.dataset.samples), progress)
        seconds = time.perf_counter() - begun
        predictions = [
            self._prediction(sample, classification)
            for sample, classification in zip(self.dataset.samples, result, strict=True)
        ]
        if result.model is None or all(prediction.error for prediction in predictions):
            first = predictions[0]
            raise DatasetError(f"no picture of {self.dataset.name} can be read: {first.name}: {first.error}")
        tally = Tally(self.dataset.classes)
        for prediction in predictions:
            tally.add(prediction)
        return Evaluation(
            dataset=self.dataset.name,
            model=result.model,
            templates=self.templates,
            tally=tally,
            predictions=predictions,
            label_seconds=self._label_seconds,
            seconds=seconds,
            truncated_prompts=result.truncated_prompts,
            warnings=result.warnings,
        )

    def _classify(self, count: int, progress: Callable[[int], None] | None) -> ClassifyResult:
        return self._client.classify(
            (sample.image for sample in self.dataset.samples[:count]),
            self._labels,
            top_k=TOP,
            model=self._model,
            on_error="return",
            progress=progress,
        )

    def _prediction(self, sample: Sample, classification: Classification) -> Prediction:
        if classification.error is not None:
            return Prediction(sample.name, sample.label, (), error=classification.error.message)
        return Prediction(sample.name, sample.label, *self.ranking.ranked(classification.scores, TOP))
