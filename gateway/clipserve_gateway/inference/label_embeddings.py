"""Values of label embeddings, and the keys by which they are cached."""

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
"""Estimated bytes of a cached label in addition to its numbers: key, objects and table entry."""


@dataclass(frozen=True)
class LabelEmbeddings:
    """Normalized float32 [L, D], the number of prompts truncated to the model's context, and warnings."""

    matrix: Floats
    truncated_prompts: int
    warnings: tuple[LabelWarning, ...] = ()
    negative: NegativeWords | None = None
    """The words for none of the above, if it has no row in the matrix."""


@dataclass(frozen=True)
class Prepared:
    """Numbers of prompts of a label set: all, those with known embeddings, and those encoded by this call."""

    total: int
    done: int
    encoded: int


@dataclass(frozen=True)
class Label:
    """One label's normalized embedding, float32 [D]."""

    embedding: Floats
    truncated_prompts: int
    name_bytes: int
    """Bytes of its name, which is the key in the cache."""


def set_key(spec: ModelSpec, labels: LabelSet) -> str:
    """Equal for label sets whose answers have the same embeddings."""
    none = labels.none_of_the_above
    return content_key(labels_prefix(spec, labels), labels.names, none and none.prompts)


def labels_prefix(spec: ModelSpec, labels: LabelSet) -> str:
    """Equal for label sets in which the same name has the same embedding."""
    return content_key(spec.fingerprint, spec.embed_dim, spec.version, labels.templates)


def names_digest(labels: LabelSet) -> str:
    """Equal for label sets with the same names and templates."""
    return content_key(labels.templates, labels.names)


def mean_label(prompts: Sequence[Embedded], name: str = "") -> Label:
    """A label's embedding: the normalized mean of its normalized prompt embeddings.

    CLIP's and open_clip's zero-shot classifiers do the same. Raises the first error of a prompt.
    """
    rows = rows_of(prompts)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    mean = (mean / np.linalg.norm(mean)).astype(np.float32)
    return Label(mean, sum(prompt.truncated for prompt in prompts), len(name.encode()))


def matrix_bytes(entry: LabelEmbeddings) -> int:
    """Memory of label embeddings, without the embeddings of negative words, which all share."""
    return entry.matrix.nbytes + (0 if entry.negative is None else entry.negative.far.nbytes)


def label_bytes(entry: Label) -> int:
    """Memory of one label."""
    return entry.embedding.nbytes + entry.name_bytes + LABEL_OVERHEAD
