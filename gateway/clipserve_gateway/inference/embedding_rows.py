"""Matrices of embeddings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from clipserve_gateway.types import Embedded, Floats

SMALLEST = 1e-6
"""A shorter vector has no meaningful direction."""


def rows_of(embedded: Iterable[Embedded]) -> Floats:
    """The embeddings, float32 [N, D]. Raises the first error among them."""
    rows = []
    for item in embedded:
        if item.error is not None:
            raise item.error
        if item.embedding is not None:
            rows.append(item.embedding)
    return np.stack(rows)


def directions(vectors: Floats) -> Floats:
    """Vectors [N, D] scaled to length 1. Vectors below SMALLEST stay shorter."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)
