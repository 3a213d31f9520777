"""Embeds for collections: by the model of a generation, and by no other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol, TypeVar

from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.errors import (
    ClipserveError,
    DimensionMismatch,
    FingerprintMismatch,
)
from clipserve_gateway.flow.deadline import Deadline, deadline_exceeded
from clipserve_gateway.inference.embedder import EmbedOutcome
from clipserve_gateway.types import Embedded, Floats, Input, ModelSpec

T = TypeVar("T")


class Embedder(Protocol):
    """Embeds images and texts."""

    async def embed(
        self, model: str, inputs: Sequence[Input], *, normalize: bool = True, deadline: Deadline
    ) -> EmbedOutcome:
        """Normalized embeddings, or errors, in order."""
        ...


class ModelTable(Protocol):
    """Knows models by name."""

    def get(self, name: str, *, field: str = "model") -> ModelSpec:
        """The model, if it is there and ready; errors name the `field` that the name came from."""
        ...


class CollectionEmbedder:
    """Embeddings that fit a collection's points."""

    def __init__(self, models: ModelTable, embedder: Embedder) -> None:
        self._models = models
        self._embedder = embedder

    async def embed(
        self, collection: str, generation: Generation, inputs: Sequence[Input], deadline: Deadline
    ) -> list[Embedded]:
        """Normalized embeddings in order; FingerprintMismatch if the model is not what it was."""
        if not inputs:
            return []
        self.model(collection, generation)
        outcome = await self._embedder.embed(generation.model, inputs, deadline=deadline)
        # The model may have been replaced in between.
        check_fingerprint(collection, generation, outcome.spec.fingerprint)
        return outcome.items

    def model(self, collection: str, generation: Generation) -> ModelSpec:
        """The model that made the embeddings; FingerprintMismatch if it is not what it was."""
        model = self._models.get(generation.model, field="collection")
        check_fingerprint(collection, generation, model.fingerprint)
        return model


def check_fingerprint(collection: str, generation: Generation, fingerprint: str) -> None:
    """FingerprintMismatch, naming both, for a fingerprint that is not empty and not the generation's."""
    if fingerprint and fingerprint != generation.fingerprint:
        raise FingerprintMismatch(
            f"collection {collection!r} is of {generation.model} {generation.fingerprint}; "
            f"these embeddings are of {fingerprint}",
            field="fingerprint",
            metadata={"collection": generation.fingerprint, "request": fingerprint[:128]},
        )


def wrong_dimension(collection: CollectionSpec, found: int) -> DimensionMismatch:
    """What is wrong with an embedding of `found` numbers."""
    return DimensionMismatch(
        f"the embedding has {found} numbers; those of collection {collection.name!r} have {collection.dim}",
        field="embedding",
        metadata={"expected": str(collection.dim), "found": str(found)},
    )


def outcome_of(item: Embedded) -> Floats | ClipserveError:
    """The embedding of an item, or its error: it has one of the two."""
    return item.embedding if item.embedding is not None else item.error or ClipserveError("not embedded")


async def in_time(work: Awaitable[T], deadline: Deadline, stage: str) -> T:
    """What the work comes to; DeadlineExceeded, naming the stage, if it takes too long."""
    try:
        return await asyncio.wait_for(work, max(0.0, deadline.remaining()))
    except asyncio.TimeoutError:
        raise deadline_exceeded(stage) from None
