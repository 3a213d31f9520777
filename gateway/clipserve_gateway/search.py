"""Finds the points of a collection that are nearest to a text, an image or an embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.collection_ops import (
    CollectionOps,
    check_fingerprint,
    in_time,
    outcome_of,
    wrong_dimension,
)
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Engine
from clipserve_gateway.stages import stage
from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, Input


@dataclass(frozen=True)
class Query:
    """What to look for. `filter` is made of the collection's schema, which is known only then."""

    collection: str
    source: Input | Floats
    top_k: int
    score_threshold: float | None
    filter: Callable[[CollectionSpec], Filter | None]
    with_payload: bool
    fingerprint: str


@dataclass(frozen=True)
class SearchOutcome:
    """The collection that was searched, and its nearest points, best first."""

    collection: CollectionSpec
    hits: list[Hit]
    truncated: bool


class Searcher:
    """Queries in, hits out."""

    def __init__(self, engine: Engine, collections: CollectionOps) -> None:
        self._engine = engine
        self._collections = collections

    async def search(self, query: Query, *, deadline: Deadline) -> SearchOutcome:
        """The nearest points.

        Raises CollectionNotFound, FingerprintMismatch, DimensionMismatch, or the query's own error.
        """
        collection = await self._collections.get(query.collection)
        check_fingerprint(collection, query.fingerprint)
        filter = query.filter(collection)
        embedding, truncated = await self._embedding(collection, query.source, deadline)
        deadline.check("search")
        with stage("search"):
            found = self._engine.search(
                collection.name,
                embedding,
                top_k=query.top_k,
                filter=filter,
                with_payload=query.with_payload,
            )
            hits = await in_time(found, deadline, "search")
        if query.score_threshold is not None:
            hits = [hit for hit in hits if hit.score >= query.score_threshold]
        return SearchOutcome(collection, hits, truncated)

    async def _embedding(
        self, collection: CollectionSpec, source: Input | Floats, deadline: Deadline
    ) -> tuple[Floats, bool]:
        """The query's normalized embedding, and whether its text was cut."""
        if isinstance(source, np.ndarray):
            if len(source) != collection.dim:
                raise wrong_dimension(collection, len(source))
            return source, False
        item = (await self._collections.embed(collection, [source], deadline))[0]
        found = outcome_of(item)
        if isinstance(found, ClipserveError):
            raise found.at("image") if found.field and not isinstance(source, str) else found
        return found, item.truncated
