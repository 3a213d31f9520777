"""Embeddings of fewer dimensions: the first ones of the model's."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from clipserve_gateway.errors import InferenceFailed, InvalidInput
from clipserve_gateway.types import Embedded, ModelSpec


def check_dimensions(spec: ModelSpec, dimensions: int, *, allow_truncation: bool) -> int:
    """Number of dimensions of an embedding if the caller asks for `dimensions`; 0 means all.

    Raises InvalidInput if the model has fewer, or if it was not trained for this number and the caller does
    not allow truncation.
    """
    if not dimensions or dimensions == spec.embed_dim:
        return spec.embed_dim
    if dimensions > spec.embed_dim:
        raise InvalidInput(
            f"{dimensions} is too many; the embeddings of model {spec.name} have {spec.embed_dim}",
            field="dimensions",
        )
    if dimensions not in spec.matryoshka_dims and not allow_truncation:
        trained = ", ".join(map(str, (*spec.matryoshka_dims, spec.embed_dim)))
        raise InvalidInput(
            f"model {spec.name} was trained for {trained}, not for {dimensions}. To get the first "
            f"{dimensions} all the same, with a loss of quality, set allow_truncation (--allow-truncation)",
            field="dimensions",
        )
    return dimensions


def first_dimensions(item: Embedded, dimensions: int) -> Embedded:
    """The item with the first dimensions of its embedding, not normalized."""
    if item.embedding is None or dimensions >= len(item.embedding):
        return item
    return dataclasses.replace(item, embedding=item.embedding[:dimensions])


def normalized(item: Embedded) -> Embedded:
    """The item with its embedding scaled to length 1; InferenceFailed for an embedding of zeros."""
    if item.embedding is None:
        return item
    norm = math.sqrt(item.embedding.dot(item.embedding))
    if norm == 0:
        return Embedded(error=InferenceFailed("the model returned an embedding of zeros"))
    return dataclasses.replace(item, embedding=(item.embedding / norm).astype(np.float32))
