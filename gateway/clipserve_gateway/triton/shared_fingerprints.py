"""Which models may have the same fingerprint.

Caches, stored embeddings of texts and collections rely on it that equal fingerprints give equal embeddings.
Exports of one model in several precisions or formats share one; a configuration that was copied to another
model must not.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from clipserve_gateway import errors
from clipserve_gateway.triton.canary import compare, inputs_of
from clipserve_gateway.types import Canary, Floats, ModelSpec, TokenizerSpec

RELATIVE_TOLERANCE = 1e-6
"""Of logit scales and biases: machines may round them in another way."""


def conflicts(specs: Iterable[ModelSpec], served: Mapping[str, ModelSpec], default: str) -> dict[str, str]:
    """Models that cannot be served, since another one has their fingerprint and is not the same model.

    One model of each fingerprint is kept: one with a canary, then one that is served already, then the
    default model, then the first by name. So is each other model that agrees with it.

    Args:
        specs: all models that could be served.
        served: models by name, as they are served until now.

    Returns:
        the model's name → a sentence for operators with the names of both models.
    """

    def rank(spec: ModelSpec) -> tuple[bool, bool, bool, str]:
        before = served.get(spec.name)
        known = before is not None and before.fingerprint == spec.fingerprint
        return spec.canary is None, not known, spec.name != default, spec.name

    kept: dict[str, ModelSpec] = {}
    refused: dict[str, str] = {}
    for spec in sorted(specs, key=rank):
        first = kept.setdefault(spec.fingerprint, spec)
        if first is not spec and (reason := difference(spec, first)):
            refused[spec.name] = (
                f"model {spec.name} has the fingerprint of model {first.name} ({spec.fingerprint[:12]}…) and "
                f"is another model: {reason}; export {spec.name} again, or remove one of both"
            )
    return refused


def difference(one: ModelSpec, other: ModelSpec) -> str:
    """What shows that two models with one fingerprint are not the same; empty if they are."""
    facts: tuple[tuple[str, Callable[[ModelSpec], object]], ...] = (
        ("embed_dim", lambda spec: spec.embed_dim),
        ("preprocessing", lambda spec: spec.preprocess),
        ("tokenizer", lambda spec: of_fingerprint(spec.tokenizer)),
    )
    for name, fact in facts:
        if fact(one) != fact(other):
            return f"they differ in {name}"
    for name, mine, others in (
        ("logit_scale", one.logit_scale, other.logit_scale),
        ("logit_bias", one.logit_bias, other.logit_bias),
    ):
        if not near(mine, others):
            return f"they differ in {name}, {mine} and {others}"
    return canary_difference(one, other)


def of_fingerprint(tokenizer: TokenizerSpec) -> TokenizerSpec:
    """A tokenizer without what the fingerprint leaves out: which spelled-out special tokens are read."""
    return dataclasses.replace(tokenizer, special_tokens="openai")


def near(one: float | None, other: float | None) -> bool:
    """Whether two numbers are equal, apart from rounding."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)


def canary_difference(one: ModelSpec, other: ModelSpec) -> str:
    """How the recorded answers of two models to the same inputs differ; empty if they agree."""
    mine, others = one.canary, other.canary
    if mine is None or others is None:
        return f"{(one if mine is None else other).name} has no canary that shows its answers"
    if not same_inputs((one, mine), (other, others)):
        return "their canaries are different inputs, so that their answers cannot be compared"
    for tower, recorded, expected in (
        ("image", mine.image_embedding, others.image_embedding),
        ("text", mine.text_embedding, others.text_embedding),
    ):
        if reason := compare(vector(recorded), vector(expected)):
            return f"the {tower} canary's recorded answers differ: {reason}"
    return ""


def same_inputs(one: tuple[ModelSpec, Canary], other: tuple[ModelSpec, Canary]) -> bool:
    """Whether two canaries have the same text and, decoded, the same image."""
    if (one[1].text, one[1].text_ids) != (other[1].text, other[1].text_ids):
        return False
    try:
        return np.array_equal(inputs_of(*one)[0], inputs_of(*other)[0])
    except errors.ClipserveError:
        return False


def vector(embedding: bytes) -> Floats:
    """A recorded embedding, float32 [D]."""
    return np.frombuffer(embedding, "<f4")
