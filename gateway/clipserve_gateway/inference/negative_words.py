"""Negative words, which score `none of the above`.

As in NegLabel (Jiang et al., ICLR 2024, "Negative Label Guided OOD Detection with Pretrained Vision-Language
Models"): from a shipped list of words, those that are far from all labels represent everything else. An image
nearer to them than to the labels shows none of the labels. The words are ImageNet's class names, plus general
prompts for images without an object. bench/unknown.py measures the effect.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.inference.embedding_rows import directions, rows_of
from clipserve_gateway.inference.text_store import (
    FixedTexts,
    TextEmbeddings,
    TextStore,
    content_key,
    data_lines,
)
from clipserve_gateway.types import Floats, ModelSpec

PROMPT = "a photo of a {}."
WORDS = 500
"""Words that represent everything else, at most."""
NEAR = 0.8
"""Words with this cosine to a label, both relative to the mean of all words, may mean the same."""
GENERAL = data_lines("general_prompts.txt")
"""Prompts for images without an object."""
GENERAL_SHARE = 0.3
"""Weight of the general prompts; the words have the rest."""
NEAREST_LABELS = 6
"""Labels that are weighed against it: a sum over many labels would hide the matching one."""
SOFTNESS = 3.0
"""The model's logit scale is divided by this before summing over words or labels."""
WEIGHT = 350.0
"""Factor on the odds of none of the above; docs/search.md has the measured effect."""


@functools.cache
def negative_prompts() -> tuple[str, ...]:
    """The prompts of the words, followed by GENERAL."""
    return (*(PROMPT.replace("{}", word) for word in data_lines("negative_words.txt")), *GENERAL)


def negative_digest() -> str:
    """Identifies the prompts in the store."""
    return content_key("negative", negative_prompts())


@dataclass(frozen=True)
class NegativeWords:
    """The words that are far from the labels of a set."""

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
        words and general prompts, and `labels` the sum of the same over the nearest labels. If there are
        fewer labels than NEAREST_LABELS, the missing ones count as near as the words.
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


def negative_texts(store: TextStore | None) -> FixedTexts[Floats]:
    """The embeddings of negative_prompts(), normalized float32 [N, D]; see embed_directions."""
    return FixedTexts(negative_prompts(), negative_digest(), store, lambda matrix: matrix)


async def embed_directions(
    embedder: Embedder, spec: ModelSpec, texts: Sequence[str], deadline: Deadline
) -> TextEmbeddings:
    """The normalized embeddings of texts."""
    embedded = await embedder.embed_texts(spec, texts, deadline)
    return TextEmbeddings(directions(rows_of(embedded)), truncated=0)
