"""Negative words, which score `none of the above`: words for everything that a label set does not name.

As in NegLabel (Jiang et al., ICLR 2024, "Negative Label Guided OOD Detection with Pretrained Vision-Language
Models"), those words of a shipped list that are far from all labels stand for everything else. An image that
is nearer to them than to the labels shows none of the labels. The words are ImageNet's class names, and there
are some general prompts for images without any thing. bench/unknown.py measures the effect.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from clipserve_gateway.errors import StorageFailed, StorageUnavailable
from clipserve_gateway.flow.concurrency import KeyLocks
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.embedding_rows import directions, rows_of
from clipserve_gateway.inference.text_store import (
    TextEmbedder,
    TextEmbeddings,
    TextStore,
    content_key,
    data_lines,
)
from clipserve_gateway.types import Floats, ModelSpec

PROMPT = "a photo of a {}."
WORDS = 500
"""Most words that stand for everything else."""
NEAR = 0.8
"""A word with at least this cosine to a label, both relative to the mean of all words, may mean the same."""
GENERAL = (
    "random noise",
    "static",
    "a screenshot",
    "a screenshot of a window",
    "a texture",
    "a pattern",
    "stripes",
    "a checkerboard",
    "a blank page",
    "a page of text",
    "text",
    "a diagram",
    "a chart",
    "a bar chart",
    "a line graph",
    "an abstract picture",
    "a solid color",
    "a table of numbers",
    "a gradient",
    "a scribble",
    "a document",
    "a web site",
    "a blurry picture",
    "a dark picture",
    "geometric shapes",
)
"""Prompts for images that show no thing."""
GENERAL_SHARE = 0.3
"""Share of the general prompts in the score; the words have the rest."""
NEAREST_LABELS = 6
"""Only this many labels are compared: the sum of many labels would exceed the image's own."""
SOFTNESS = 3.0
"""The model's logit scale is divided by this before words, or labels, are summed."""
WEIGHT = 350.0
"""Factor of the odds of none of the above; docs/search.md gives its effects."""
STEP = 256
"""Prompts embedded between two looks at the deadline; what is done by then is kept for the next caller."""
MODELS = 16
"""Models whose words are kept in memory: about a megabyte each."""


@functools.cache
def negative_prompts() -> tuple[str, ...]:
    """The prompts of the words, followed by GENERAL."""
    return (*(PROMPT.replace("{}", word) for word in data_lines("negative_words.txt")), *GENERAL)


def negative_digest() -> str:
    """The prompts' digest in the store."""
    return content_key("negative", negative_prompts())


@dataclass(frozen=True)
class NegativeWords:
    """The words that are far from a label set."""

    embeddings: Floats
    """Of all words and general prompts, shared by all label sets: normalized float32 [N, D]."""
    far: npt.NDArray[np.intp]
    """Rows of the words that are far from all labels, [M]."""

    def weigh(
        self, images: Floats, labels: Floats, logit_scale: float
    ) -> tuple[Floats, npt.NDArray[np.float64]]:
        """The cosine of the nearest word or general prompt, and the log odds of none of the above: [B] each.

        `labels` are the cosines of the images (float32 [B, D]) with all labels, [B, L]. The odds are WEIGHT ×
        (words / labels) ^ SOFTNESS, where `words` is the mean of exp(logit_scale / SOFTNESS × cosine) over
        words and general prompts, and `labels` the sum of the same over the nearest labels. If there are less
        labels than NEAREST_LABELS, the missing ones count as near as words.
        """
        cosines = np.clip(images @ self.embeddings.T, -1, 1)
        general, far = cosines[:, -len(GENERAL) :], cosines[:, self.far]
        share = GENERAL_SHARE if len(self.far) else 1.0
        scale = logit_scale / SOFTNESS
        words = np.full(len(images), -np.inf)
        for group, part in ((general, share), (far, 1 - share)):
            if part:
                words = np.logaddexp(words, np.log(part) + log_sum(group, scale) - np.log(group.shape[1]))
        more = labels.shape[1] - NEAREST_LABELS
        nearest = np.partition(labels, more, axis=1)[:, more:] if more > 0 else labels
        sums = log_sum(nearest, scale)
        if more < 0:
            sums = np.logaddexp(sums, words + np.log(-more))
        odds = np.log(WEIGHT) + SOFTNESS * (words - sums)
        return np.hstack([far, general]).max(axis=1), odds


def log_sum(cosines: Floats, scale: float) -> npt.NDArray[np.float64]:
    """The logarithm of the sum of exp(scale × cosine) over each row, float64 [B]."""
    logits = cosines.astype(np.float64) * scale
    highest = logits.max(axis=1)
    sums: npt.NDArray[np.float64] = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return sums


def far_words(words: Floats, labels: Floats) -> NegativeWords:
    """The words (float32 [N, D], general prompts last) that are farthest from all labels (float32 [L, D])."""
    own = len(words) - len(GENERAL)
    center = words[:own].mean(axis=0)
    nearest = (directions(words - center) @ directions(labels - center).T).max(axis=1)
    order = np.argsort(nearest[:own], kind="stable")[:WORDS]
    return NegativeWords(words, order[nearest[order] < NEAR])


class NegativeWordCache:
    """The words by each model: embedded once, kept in memory and in the store."""

    def __init__(self, embedder: TextEmbedder, store: TextStore | None) -> None:
        self._embedder = embedder
        self._store = store
        self._known: LRUCache[str, Floats] = LRUCache(MODELS)
        self._begun: LRUCache[str, list[Floats]] = LRUCache(MODELS)
        self._locks: KeyLocks[str] = KeyLocks()

    async def get(self, spec: ModelSpec, latest: Callable[[], Deadline]) -> Floats:
        """Normalized float32 [N, D]. Raises what embedding and the store raise."""
        async with self._locks.hold([spec.fingerprint]):
            found = self._known.get(spec.fingerprint)
            if found is None:
                found = self._known[spec.fingerprint] = (await self._load(spec, latest)).matrix
                self._begun.pop(spec.fingerprint, None)
            return found

    async def _load(self, spec: ModelSpec, latest: Callable[[], Deadline]) -> TextEmbeddings:
        prompts = negative_prompts()

        async def make() -> TextEmbeddings:
            return await self._embed(spec, prompts, latest)

        if self._store is None:
            return await make()
        try:
            return await self._store.get_or_make(spec, negative_digest(), len(prompts), make)
        except (StorageFailed, StorageUnavailable):
            # A store only saves work here: its failure must not fail a classification.
            return await make()

    async def _embed(
        self, spec: ModelSpec, prompts: tuple[str, ...], latest: Callable[[], Deadline]
    ) -> TextEmbeddings:
        done = self._begun.setdefault(spec.fingerprint, [])
        while len(done) * STEP < len(prompts):
            latest().check("encode")
            start = len(done) * STEP
            embedded = await self._embedder.embed_texts(spec, prompts[start : start + STEP], latest())
            done.append(directions(rows_of(embedded)))
        return TextEmbeddings(np.concatenate(done), truncated=0)
