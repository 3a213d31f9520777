"""Checks the scores of labels against their formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from clipserve.client import Client
from clipserve.inputs.image_like import ExactPixels
from clipserve.tools.verification import remedies
from clipserve.tools.verification.compare import Check, unit
from clipserve.types import ModelInfo

LABELS = ("cat", "house", "bicycle", "mountain", "cup of coffee")
NAME = "scores of labels"
PROBABILITY_TOLERANCE = 1e-3
"""Probabilities are float32, and follow from cosines of float32 that are multiplied by up to some hundred."""


def check_scores(client: Client, model: ModelInfo, images: Sequence[bytes], bound: float) -> Check:
    """Compares Classify with embeddings of its images and labels, and probabilities with their formula."""
    exact = [ExactPixels(image) for image in images]
    result = client.classify(exact, LABELS, templates=["{}"], top_k=len(LABELS), model=model.name)
    vectors = [
        unit(embedded.embeddings)
        for embedded in (
            client.embed_images(exact, model=model.name),
            client.embed_texts(LABELS, model=model.name),
        )
    ]
    expected = vectors[0] @ vectors[1].T
    cosines = np.full(expected.shape, np.nan)
    probabilities = np.full(expected.shape, np.nan)
    for row, classification in enumerate(result):
        for score in classification.scores:
            cosines[row, score.index] = score.cosine
            probabilities[row, score.index] = math.nan if score.probability is None else score.probability
    off = float(np.abs(cosines - expected).max())
    # Two embeddings of one input may differ by this angle, and so may those of the other.
    allowed = 2 * math.sqrt(2 * (1 - bound))
    figures = {"cosine_difference": off, "allowed": allowed}
    if not off <= allowed:
        detail = f"cosines differ from those of the embeddings by {off:.2g}, at most {allowed:.2g} allowed"
        return Check(NAME, "failed", detail, remedies.LABELS, figures)
    logits = cosines * result.logit_scale
    if result.score == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        formula = powers / powers.sum(axis=1, keepdims=True)
    else:
        with np.errstate(over="ignore"):
            formula = 1 / (1 + np.exp(-(logits + (result.logit_bias or 0.0))))
    apart = float(np.abs(probabilities - formula).max())
    figures["probability_difference"] = apart
    if not apart <= PROBABILITY_TOLERANCE:
        detail = f"probabilities differ from their {result.score} by {apart:.2g}"
        return Check(NAME, "failed", detail, remedies.PROBABILITIES, figures)
    return Check(
        NAME, "passed", f"{result.score} of the cosines of the embeddings, within {off:.1g}", figures=figures
    )
