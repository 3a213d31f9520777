"""Zero-shot classification: cosines of images and labels, and the scores made of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipserve_gateway.concurrency import both
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.embed import Embedder, normalized
from clipserve_gateway.label_warnings import LabelWarning
from clipserve_gateway.labels import LabelCache, Prepared
from clipserve_gateway.models import Models
from clipserve_gateway.stages import stage
from clipserve_gateway.types import (
    Classified,
    Embedded,
    Floats,
    Image,
    LabelScore,
    LabelSet,
    LabelSetRef,
    ModelSpec,
    ScoreMode,
)

SCORES_ON_LOOP = 20_000
"""Up to so many scores are ranked on the event loop (about a millisecond); more go to a thread."""


@dataclass(frozen=True)
class RankedLabels(Sequence[LabelScore]):
    """The best k labels of one image, best first.

    Arrays, since a call may have a million scores: objects of them would take hundreds of megabytes.
    """

    names: Sequence[str]
    """Of all labels."""
    indexes: npt.NDArray[np.int64]
    """Places in `names`, [k]."""
    cosines: Floats
    """[k]."""
    probabilities: npt.NDArray[np.float64] | None
    above_threshold: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, i: int) -> LabelScore:  # type: ignore[override]
        return LabelScore(
            self.names[self.indexes[i]],
            int(self.indexes[i]),
            float(self.cosines[i]),
            None if self.probabilities is None else float(self.probabilities[i]),
            None if self.above_threshold is None else bool(self.above_threshold[i]),
        )

    def __iter__(self) -> Iterator[LabelScore]:
        absent = itertools.repeat(None)
        probabilities = absent if self.probabilities is None else self.probabilities.tolist()
        above = absent if self.above_threshold is None else self.above_threshold.tolist()
        indexes = self.indexes.tolist()
        names = (self.names[index] for index in indexes)
        yield from map(LabelScore, names, indexes, self.cosines.tolist(), probabilities, above)


@dataclass(frozen=True)
class ClassifyOutcome:
    """The model that answered, one result for each image, how many prompts were cut, and what to tell."""

    spec: ModelSpec
    items: list[Classified]
    truncated_prompts: int
    warnings: tuple[LabelWarning, ...] = ()


class Classifier:
    """Images and labels in, scores out."""

    def __init__(self, models: Models, embedder: Embedder, labels: LabelCache) -> None:
        self._models = models
        self._embedder = embedder
        self._labels = labels

    async def classify(
        self,
        model: str,
        images: Sequence[Image],
        labels: LabelSet,
        *,
        top_k: int,
        mode: ScoreMode,
        deadline: Deadline,
        ref: LabelSetRef | None = None,
    ) -> ClassifyOutcome:
        """The `top_k` best labels of each image, best first; equal scores in the order of the labels.

        `ref` is the name and version under which the labels are kept, if they are. A bad image comes back
        with its error. Raises as Embedder.embed does.
        """
        spec = self._models.get(model)
        label_embeddings, embedded = await both(
            self._labels.get(spec, labels, deadline, ref),
            self._embedder.embed_images(spec, images, deadline),
        )
        items = [normalized(item) for item in embedded]
        with stage("score"):
            if len(items) * len(labels.answers) <= SCORES_ON_LOOP:
                results = rank(spec, items, label_embeddings.matrix, labels, top_k, mode)
            else:
                results = await asyncio.to_thread(
                    rank, spec, items, label_embeddings.matrix, labels, top_k, mode
                )
        return ClassifyOutcome(spec, results, label_embeddings.truncated_prompts, label_embeddings.warnings)

    async def prepare(
        self, model: str, labels: LabelSet, *, seconds: float, deadline: Deadline, ref: LabelSetRef | None
    ) -> tuple[ModelSpec, Prepared]:
        """Encodes labels ahead of `classify`, as LabelCache.prepare does, and with which model."""
        spec = self._models.get(model)
        return spec, await self._labels.prepare(spec, labels, deadline, ref, seconds=seconds)


def rank(
    spec: ModelSpec, items: Sequence[Embedded], matrix: Floats, labels: LabelSet, top_k: int, mode: ScoreMode
) -> list[Classified]:
    """Scores every good item against all answers (float32 [L, D]) and keeps the `top_k` best."""
    results = [Classified(error=item.error) for item in items]
    good = {i: item.embedding for i, item in enumerate(items) if item.embedding is not None}
    if not good:
        return results
    cosines = np.stack(list(good.values())) @ matrix.T
    np.clip(cosines, -1.0, 1.0, out=cosines)
    probabilities = probability(cosines, spec, mode)
    names, thresholds = labels.answers, np.asarray(labels.answer_thresholds, np.float32)
    for row, i in enumerate(good):
        best = np.argsort(-cosines[row], kind="stable")[:top_k]
        best_cosines = cosines[row, best]
        results[i] = Classified(
            RankedLabels(
                names,
                best,
                best_cosines,
                None if probabilities is None else probabilities[row, best],
                best_cosines >= thresholds[best] if len(thresholds) else None,
            )
        )
    return results


def probability(cosines: Floats, spec: ModelSpec, mode: ScoreMode) -> np.ndarray | None:
    """Probabilities float64 [B, L], or None where the model gives no meaningful ones.

    Softmax over labels of logit_scale × cosine (+ logit_bias, which cancels), as in CLIP; or, for models
    trained that way, sigmoid(logit_scale × cosine + logit_bias), as in SigLIP. A sigmoid without the
    learned bias would call nearly everything certain, so there is none then.
    """
    logits = cosines.astype(np.float64) * spec.logit_scale
    if mode is ScoreMode.SOFTMAX:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    if spec.logit_bias is None:
        return None
    # exp of large numbers overflows to inf, and 1 / inf is the right 0.
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-(logits + spec.logit_bias)))
