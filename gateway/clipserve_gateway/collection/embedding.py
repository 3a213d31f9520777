"""Embeds for collections with the model of a generation, and with no other model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.errors import ClipserveError, DimensionMismatch, FingerprintMismatch
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.inference.embedder import Embedder
from clipserve_gateway.triton.models import Models
from clipserve_gateway.types import Embedded, Floats, Input, ModelSpec

T = TypeVar("T")


class CollectionEmbedder:
    """Computes embeddings that are comparable with a collection's points."""

    def __init__(self, models: Models, embedder: Embedder) -> None:
        self._models = models
        self._embedder = embedder

    async def embed(
        self, collection: str, generation: Generation, inputs: Sequence[Input], deadline: Deadline
    ) -> list[Embedded]:
        """Normalized embeddings in order. Raises FingerprintMismatch if the model was replaced."""
        if not inputs:
            return []
        self.model(collection, generation)
        outcome = await self._embedder.embed(
            generation.model, inputs, deadline=deadline, rules=generation.rules
        )
        # The model may have been replaced in between.
        check_model(collection, generation, outcome.spec)
        return outcome.items

    def model(self, collection: str, generation: Generation) -> ModelSpec:
        """The model of the generation. Raises FingerprintMismatch if it was replaced."""
        model = self._models.get(generation.model, field="collection")
        check_model(collection, generation, model)
        return model


def check_model(collection: str, generation: Generation, model: ModelSpec) -> None:
    """Raises FingerprintMismatch if a model is not the one of the generation."""
    check_fingerprint(collection, generation, model.fingerprint)
    if model.embed_dim != generation.dim:
        raise FingerprintMismatch(
            f"collection {collection!r} has embeddings of {generation.dim} numbers, and model {model.name} "
            f"with the same fingerprint makes {model.embed_dim}; export the model again",
            field="collection",
            metadata={"expected": str(generation.dim), "found": str(model.embed_dim)},
        )


def check_fingerprint(collection: str, generation: Generation, fingerprint: str) -> None:
    """Raises FingerprintMismatch if the fingerprint is neither empty nor the generation's."""
    if fingerprint and fingerprint != generation.fingerprint:
        raise FingerprintMismatch(
            f"collection {collection!r} has embeddings of model {generation.model} with fingerprint "
            f"{generation.fingerprint}; these embeddings have fingerprint {fingerprint}",
            field="fingerprint",
            metadata={"collection": generation.fingerprint, "request": fingerprint[:128]},
        )


def wrong_dimension(collection: CollectionSpec, dim: int) -> DimensionMismatch:
    """The error of an embedding of `dim` numbers."""
    return DimensionMismatch(
        f"the embedding has {dim} numbers; collection {collection.name!r} has embeddings of {collection.dim}",
        field="embedding",
        metadata={"expected": str(collection.dim), "found": str(dim)},
    )


def embedding_or_error(item: Embedded) -> Floats | ClipserveError:
    """The embedding of an item, or its error: it has one of the two."""
    return item.embedding if item.embedding is not None else item.error or ClipserveError("not embedded")


async def before_deadline(work: Awaitable[T], deadline: Deadline, stage: str) -> T:
    """The result of the work. Raises DeadlineExceeded, which names the stage, if the deadline passes."""
    try:
        return await asyncio.wait_for(work, max(0.0, deadline.remaining()))
    except asyncio.TimeoutError:
        raise deadline_exceeded(stage) from None
