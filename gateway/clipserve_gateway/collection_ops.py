"""What can be done with collections: plain values in, plain values out."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from clipserve_gateway.deadline import Deadline
from clipserve_gateway.embed import EmbedOutcome
from clipserve_gateway.errors import (
    ClipserveError,
    CollectionNotFound,
    DeadlineExceeded,
    DimensionMismatch,
    FingerprintMismatch,
    InvalidInput,
)
from clipserve_gateway.index.base import Engine
from clipserve_gateway.stages import stage
from clipserve_gateway.types import (
    CollectionSpec,
    Embedded,
    Filter,
    Floats,
    Input,
    ModelSpec,
    Payload,
    PayloadType,
    Point,
)

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

    def get(self, name: str) -> ModelSpec:
        """The model, if it is there and ready."""
        ...


@dataclass(frozen=True)
class NewPoint:
    """A point to write: what to embed, or its normalized embedding."""

    id: str
    source: Input | Floats
    payload: Payload


class CollectionOps:
    """Collections, on one engine."""

    def __init__(self, engine: Engine, models: ModelTable, embedder: Embedder) -> None:
        self._engine = engine
        self._models = models
        self._embedder = embedder

    async def create(self, name: str, model: str, schema: Mapping[str, PayloadType]) -> CollectionSpec:
        """Makes an empty collection for a model that is served now."""
        spec = self._models.get(model)
        now = dt.datetime.now(dt.timezone.utc)
        collection = CollectionSpec(name, spec.name, spec.fingerprint, spec.embed_dim, schema, now)
        await self._engine.create(collection)
        return collection

    async def get(self, name: str) -> CollectionSpec:
        """What a collection is; CollectionNotFound."""
        return await self._engine.get(name)

    async def page(self, after: str, limit: int) -> list[CollectionSpec]:
        """Up to `limit` collections whose names follow `after`, by name."""
        found = [spec for spec in await self._engine.collections() if spec.name > after]
        return found[:limit]

    async def count(self, name: str, filter: Filter | None = None) -> int:
        """Points, all or those that meet the filter."""
        with stage("index"):
            return await self._engine.count(name, filter)

    async def counts(self, specs: Sequence[CollectionSpec]) -> list[int | None]:
        """Points of each collection; None for one that was dropped since it was listed."""

        async def one(spec: CollectionSpec) -> int | None:
            try:
                return await self._engine.count(spec.name, None)
            except CollectionNotFound:
                return None

        with stage("index"):
            return await asyncio.gather(*map(one, specs))

    async def drop(self, name: str) -> None:
        """Removes a collection with all its points."""
        await self._engine.drop(name)

    async def upsert(
        self,
        collection: CollectionSpec,
        points: Sequence[NewPoint | InvalidInput],
        *,
        fingerprint: str,
        deadline: Deadline,
    ) -> list[ClipserveError | None]:
        """Writes the good points; what is wrong with each of the others.

        Raises FingerprintMismatch where `fingerprint`, or the model as it is served now, is not the
        collection's; CollectionNotFound where the collection was dropped, or made anew, in the meantime.
        """
        check_fingerprint(collection, fingerprint)
        found = await self._embeddings(collection, points, deadline)
        statuses: list[ClipserveError | None] = []
        good: list[Point] = []
        for point, embedding in zip(points, found, strict=True):
            if isinstance(point, InvalidInput) or isinstance(embedding, ClipserveError):
                statuses.append(embedding if isinstance(embedding, ClipserveError) else None)
            elif len(embedding) != collection.dim:
                statuses.append(wrong_dimension(collection, len(embedding)))
            else:
                statuses.append(None)
                good.append(Point(point.id, point.payload, embedding))
        if good:
            deadline.check("index")
            with stage("index"):
                # Embedding took its time, and the name may belong to another model's points by now.
                if await self._engine.get(collection.name) != collection:
                    raise CollectionNotFound(
                        f"collection {collection.name!r} was made anew", field="collection"
                    )
                await in_time(self._engine.upsert(collection.name, good), deadline, "index")
        return statuses

    async def _embeddings(
        self, collection: CollectionSpec, points: Sequence[NewPoint | InvalidInput], deadline: Deadline
    ) -> list[Floats | ClipserveError]:
        """The embedding of each point, given or made now, or why there is none."""
        inputs: list[Input] = [
            point.source
            for point in points
            if isinstance(point, NewPoint) and not isinstance(point.source, np.ndarray)
        ]
        made = iter(await self.embed(collection, inputs, deadline) if inputs else [])
        found: list[Floats | ClipserveError] = []
        for point in points:
            if isinstance(point, InvalidInput):
                found.append(point)
            elif isinstance(point.source, np.ndarray):
                found.append(point.source)
            else:
                found.append(outcome_of(next(made)))
        return found

    async def embed(
        self, collection: CollectionSpec, inputs: Sequence[Input], deadline: Deadline
    ) -> list[Embedded]:
        """Normalized embeddings by the collection's own model; FingerprintMismatch if it has changed."""
        check_fingerprint(collection, self._models.get(collection.model).fingerprint)
        outcome = await self._embedder.embed(collection.model, inputs, deadline=deadline)
        # The model may have been replaced in between.
        check_fingerprint(collection, outcome.spec.fingerprint)
        return outcome.items

    async def delete(self, name: str, ids: Sequence[str]) -> int:
        """Removes points; how many of the ids existed."""
        with stage("index"):
            return await self._engine.delete(name, ids)

    async def fetch(self, name: str, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """The points that exist, in the order of `ids`."""
        with stage("index"):
            return await self._engine.fetch(name, ids, with_embeddings=with_embeddings)


async def in_time(work: Awaitable[T], deadline: Deadline, stage: str) -> T:
    """What the work comes to; DeadlineExceeded, naming the stage, if it takes too long."""
    try:
        return await asyncio.wait_for(work, max(0.0, deadline.remaining()))
    except asyncio.TimeoutError:
        raise DeadlineExceeded(f"the deadline passed during {stage}", metadata={"stage": stage}) from None


def outcome_of(item: Embedded) -> Floats | ClipserveError:
    """The embedding of an item, or its error: it has one of the two."""
    return item.embedding if item.embedding is not None else item.error or ClipserveError("not embedded")


def check_fingerprint(collection: CollectionSpec, fingerprint: str) -> None:
    """FingerprintMismatch, naming both, for a fingerprint that is not empty and not the collection's."""
    if fingerprint and fingerprint != collection.fingerprint:
        raise FingerprintMismatch(
            f"collection {collection.name!r} is of {collection.model} {collection.fingerprint}; "
            f"these embeddings are of {fingerprint}",
            field="fingerprint",
            metadata={"collection": collection.fingerprint, "request": fingerprint[:128]},
        )


def wrong_dimension(collection: CollectionSpec, found: int) -> DimensionMismatch:
    """What is wrong with an embedding of `found` numbers."""
    return DimensionMismatch(
        f"the embedding has {found} numbers; those of collection {collection.name!r} have {collection.dim}",
        field="embedding",
        metadata={"expected": str(collection.dim), "found": str(found)},
    )
