"""Zero-shot classification: cosines of images and labels, and scores computed from them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipserve_gateway.flow.concurrency import gather_two
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.inference.embedder import Embedder, normalized
from clipserve_gateway.inference.label_cache import LabelCache
from clipserve_gateway.inference.label_embeddings import LabelEmbeddings, Prepared
from clipserve_gateway.inference.label_warnings import LabelWarning
from clipserve_gateway.inference.negative_words import WORDS, log_sum
from clipserve_gateway.triton.models import Models
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
"""Up to this many scores are ranked on the event loop (about 1 ms), more in a thread."""


@dataclass(frozen=True)
class RankedLabels(Sequence[LabelScore]):
    """The best k labels of one image, best first.

    It holds arrays, because a call may have a million scores, which as objects take hundreds of megabytes.
    """

    names: Sequence[str]
    """Names of all labels."""
    indexes: npt.NDArray[np.int64]
    """Positions in `names`, [k]."""
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
    """The model, the mode used, one result for each image, the number of truncated prompts, and warnings."""

    spec: ModelSpec
    mode: ScoreMode
    items: list[Classified]
    truncated_prompts: int
    warnings: tuple[LabelWarning, ...] = ()


class Classifier:
    """Classifies images by labels."""

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
        mode: ScoreMode | None,
        deadline: Deadline,
        ref: LabelSetRef | None = None,
    ) -> ClassifyOutcome:
        """The `top_k` best labels of each image, best first; equal scores in the order of the labels.

        Without a `mode`, the model's own is used. `ref` is the name and version of a stored label set. The
        result of a bad image is its error. Raises as Embedder.embed does.
        """
        spec = self._models.get(model)
        mode = mode or own_mode(spec)
        label_embeddings, embedded = await gather_two(
            self._labels.get(spec, labels, deadline, ref),
            self._embedder.embed_images(spec, images, deadline),
        )
        items = [normalized(item) for item in embedded]
        with stage("score"):
            scores = len(labels.answers) + (WORDS if labels.needs_negative_words else 0)
            if len(items) * scores <= SCORES_ON_LOOP:
                results = rank(spec, items, label_embeddings, labels, top_k, mode)
            else:
                results = await asyncio.to_thread(rank, spec, items, label_embeddings, labels, top_k, mode)
        return ClassifyOutcome(
            spec, mode, results, label_embeddings.truncated_prompts, label_embeddings.warnings
        )

    async def prepare(
        self, model: str, labels: LabelSet, *, seconds: float, deadline: Deadline, ref: LabelSetRef | None
    ) -> tuple[ModelSpec, Prepared]:
        """Encodes labels before `classify` as LabelCache.prepare does; also returns the model."""
        spec = self._models.get(model)
        return spec, await self._labels.prepare(spec, labels, deadline, ref, seconds=seconds)


def own_mode(spec: ModelSpec) -> ScoreMode:
    """The mode that the model was trained for: a learned bias belongs to a sigmoid, as in SigLIP."""
    return ScoreMode.SOFTMAX if spec.logit_bias is None else ScoreMode.INDEPENDENT


def rank(
    spec: ModelSpec,
    items: Sequence[Embedded],
    embeddings: LabelEmbeddings,
    labels: LabelSet,
    top_k: int,
    mode: ScoreMode,
) -> list[Classified]:
    """Scores every item without an error against all answers, and keeps the `top_k` best."""
    results = [Classified(error=item.error) for item in items]
    good = {i: item.embedding for i, item in enumerate(items) if item.embedding is not None}
    if not good:
        return results
    cosines, logits = scored(np.stack(list(good.values())), embeddings, spec.logit_scale)
    # Only in a softmax, the weights of many words add up.
    ranked_by = logits if mode is ScoreMode.SOFTMAX else cosines
    probabilities = probability(cosines, logits, spec, mode)
    names, thresholds = labels.answers, np.asarray(labels.answer_thresholds, np.float32)
    for row, i in enumerate(good):
        best = np.argsort(-ranked_by[row], kind="stable")[:top_k]
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


def scored(
    images: Floats, embeddings: LabelEmbeddings, logit_scale: float
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Cosines of images (float32 [B, D]) with all answers, and their logits in a softmax: [B, L] each.

    The logit of a label is logit_scale × cosine. If negative words stand for none of the above, its cosine is
    that of the nearest word, and its logit gives the odds of NegativeWords.weigh.
    """
    cosines = np.clip(images @ embeddings.matrix.T, -1.0, 1.0)
    logits = cosines.astype(np.float64) * logit_scale
    if embeddings.negative is not None:
        nearest, odds = embeddings.negative.weigh(images, cosines, logit_scale)
        none = odds + log_sum(cosines, logit_scale)
        cosines = np.hstack([cosines, nearest[:, None]])
        logits = np.hstack([logits, none[:, None]])
    return cosines, logits


def probability(
    cosines: Floats, logits: npt.NDArray[np.float64], spec: ModelSpec, mode: ScoreMode
) -> np.ndarray | None:
    """Probabilities float64 [B, L], or None if the model gives no meaningful ones.

    SOFTMAX is a softmax over labels of logit_scale × cosine (+ logit_bias, which cancels), as in CLIP.
    INDEPENDENT is sigmoid(logit_scale × cosine + logit_bias), for models trained with it, as SigLIP. Without
    the learned bias, a sigmoid would be near 1 for nearly everything, so the result is None.
    """
    if mode is ScoreMode.SOFTMAX:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    if spec.logit_bias is None:
        return None
    # exp of large numbers overflows to inf, and 1 / inf is the right 0.
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-(cosines.astype(np.float64) * spec.logit_scale + spec.logit_bias)))
