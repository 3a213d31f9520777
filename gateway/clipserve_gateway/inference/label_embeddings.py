"""Label embeddings as values: what they are made of, and when they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.inference.embedding_rows import rows_of
from clipserve_gateway.inference.label_warnings import LabelWarning
from clipserve_gateway.inference.negative_words import NegativeWords
from clipserve_gateway.inference.text_store import content_key
from clipserve_gateway.types import Embedded, Floats, LabelSet, ModelSpec

LABEL_OVERHEAD = 512
"""Bytes a cached label takes beside its numbers: key, objects and their place in the table (estimated)."""


@dataclass(frozen=True)
class LabelEmbeddings:
    """Normalized float32 [L, D], how many prompts were cut at the model's context, and what to tell."""

    matrix: Floats
    truncated_prompts: int
    warnings: tuple[LabelWarning, ...] = ()
    negative: NegativeWords | None = None
    """What stands for none of the above, where it has no row of its own in the matrix."""


@dataclass(frozen=True)
class Prepared:
    """Prompts of a label set, those whose embeddings are known, and those that were encoded just now."""

    total: int
    done: int
    encoded: int


@dataclass(frozen=True)
class Label:
    """One label's normalized embedding, float32 [D]."""

    embedding: Floats
    truncated_prompts: int
    name_bytes: int
    """Of its key in the cache."""


def set_key(spec: ModelSpec, labels: LabelSet) -> str:
    """Equal where the embeddings of all answers are."""
    none = labels.none_of_the_above
    return content_key(spec.fingerprint, spec.version, labels.templates, labels.names, none and none.prompts)


def labels_prefix(spec: ModelSpec, labels: LabelSet) -> str:
    """Equal where the embedding of a single label is."""
    return content_key(spec.fingerprint, spec.version, labels.templates)


def names_digest(labels: LabelSet) -> str:
    """Equal where the names and the prompts they are put into are."""
    return content_key(labels.templates, labels.names)


def mean_label(prompts: Sequence[Embedded], name: str = "") -> Label:
    """A label's embedding: normalized mean of its normalized prompt embeddings.

    As in CLIP's and open_clip's zero-shot classifiers. Raises the error of a prompt that has one.
    """
    rows = rows_of(prompts)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    mean = (mean / np.linalg.norm(mean)).astype(np.float32)
    return Label(mean, sum(prompt.truncated for prompt in prompts), len(name.encode()))


def matrix_bytes(entry: LabelEmbeddings) -> int:
    """Bytes that label embeddings take; the negative words are shared by all."""
    return entry.matrix.nbytes + (0 if entry.negative is None else entry.negative.far.nbytes)


def label_bytes(entry: Label) -> int:
    """Bytes that one label takes."""
    return entry.embedding.nbytes + entry.name_bytes + LABEL_OVERHEAD
