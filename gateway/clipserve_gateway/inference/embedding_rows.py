"""Embeddings as rows of a matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from clipserve_gateway.types import Embedded, Floats

SMALLEST = 1e-6
"""Length below which a vector has no direction."""


def rows_of(embedded: Iterable[Embedded]) -> Floats:
    """The embeddings, float32 [N, D]; raises the error of the first that has one."""
    rows = []
    for one in embedded:
        if one.error is not None:
            raise one.error
        if one.embedding is not None:
            rows.append(one.embedding)
    return np.stack(rows)


def directions(vectors: Floats) -> Floats:
    """Vectors [N, D] made as long as 1; those without a direction stay short."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)
