"""Finds the points of a collection that are nearest to texts, images, embeddings, or points of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.duplicates import Group
from clipserve_gateway.collection.embedding import (
    CollectionEmbedder,
    before_deadline,
    check_fingerprint,
    embedding_or_error,
    wrong_dimension,
)
from clipserve_gateway.collection.group_search import (
    MAX_PAGE,
    Candidates,
    GroupResult,
    find_groups,
    with_payloads,
)
from clipserve_gateway.collection.score_statistics import GOOD_PERCENTILE, QueryKind, ScoreScale, Statistics
from clipserve_gateway.collection.spec import CollectionSpec, check_not_recreated
from clipserve_gateway.errors import ClipserveError, InvalidInput, PointNotFound
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Hit
from clipserve_gateway.types import Floats, Input

MIN_LENGTH = 1e-3
"""A weighted sum of unit vectors, whose largest weight is 1, must have this length to have a direction."""


@dataclass(frozen=True)
class Like:
    """A point of the collection, by id."""

    id: str


@dataclass(frozen=True)
class Part:
    """One part of a query. `field` is its path in the request, for errors."""

    source: Input | Floats | Like
    weight: float = 1.0
    field: str = ""


@dataclass(frozen=True)
class Query:
    """What to search for, and in which collection."""

    collection: CollectionSpec
    parts: tuple[Part, ...]
    top_k: int
    score_threshold: float | None
    filter: Filter | None
    with_payload: bool
    payload_fields: tuple[str, ...]
    """Empty for all."""
    fingerprint: str
    consistent: bool
    duplicate_threshold: float | None
    """Cosine from which hits are grouped; None does not group."""

    @property
    def kind(self) -> QueryKind | None:
        """The kind of unrelated pairs that its scores are compared with; None for embeddings and sums."""
        source = self.parts[0].source
        if len(self.parts) > 1 or isinstance(source, np.ndarray):
            return None
        return "text" if isinstance(source, str) else "image"

    @property
    def max_hits(self) -> int:
        """Hits that are read from the engine at a time, at most."""
        hits = self.top_k + len(self.parts)
        return hits if self.duplicate_threshold is None else max(hits, MAX_PAGE)


@dataclass(frozen=True)
class SearchOutcome:
    """The nearest points, best first."""

    collection: CollectionSpec
    groups: list[Group]
    truncated: bool
    """Whether a text was cut at the model's context length."""
    scale: ScoreScale | None
    """Turns scores into percentiles; None if the collection has no statistics yet."""
    incomplete: bool = False
    """Whether points that could form other groups of duplicates were not read."""

    @property
    def weak_match(self) -> bool:
        """Whether even the best hit is not clearly better than unrelated pairs."""
        if self.scale is None or not self.groups:
            return False
        return self.scale.percentile(self.groups[0].hit.score) < GOOD_PERCENTILE


class Searcher:
    """Runs queries."""

    def __init__(
        self, engine: Engine, catalog: Catalog, embedder: CollectionEmbedder, statistics: Statistics
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._embedder = embedder
        self._statistics = statistics

    async def search(self, query: Query, *, deadline: Deadline) -> SearchOutcome:
        """The nearest points.

        Raises CollectionNotFound, FingerprintMismatch, DimensionMismatch, PointNotFound, or the error of a
        part of the query.
        """
        return await self._catalog.reading(
            query.collection.name, lambda collection: self._search(query, collection, deadline)
        )

    async def _search(self, query: Query, collection: CollectionSpec, deadline: Deadline) -> SearchOutcome:
        check_not_recreated(query.collection, collection)
        check_fingerprint(collection.name, collection.serving, query.fingerprint)
        if query.kind:
            # Starts the statistics of a collection that has none, while the query is embedded.
            self._statistics.get(collection, query.kind)
        embedding, truncated = await self._embedding(collection, query.parts, deadline)
        deadline.check("search")
        with stage("search"):
            result = await before_deadline(self._groups(query, collection, embedding), deadline, "search")
        groups = result.groups
        if query.score_threshold is not None:
            groups = [group for group in groups if group.hit.score >= query.score_threshold]
        if query.payload_fields:
            groups = [keep_fields(group, query.payload_fields) for group in groups]
        background = await self._statistics.wait_for(collection, query.kind, deadline) if query.kind else None
        scale = None if background is None else background.scale(embedding)
        return SearchOutcome(collection, groups, truncated, scale, result.incomplete)

    async def _embedding(
        self, collection: CollectionSpec, parts: Sequence[Part], deadline: Deadline
    ) -> tuple[Floats, bool]:
        """The query's normalized embedding, and whether a text was cut."""
        to_embed = [part for part in parts if not isinstance(part.source, np.ndarray | Like)]
        inputs = [part.source for part in to_embed if not isinstance(part.source, np.ndarray | Like)]
        items = await self._embedder.embed(collection.name, collection.serving, inputs, deadline)
        stored = await self._stored(collection, parts, deadline)
        embedded = {id(part): item for part, item in zip(to_embed, items, strict=True)}
        # Only the ratios of weights count: scaling them avoids overflow and underflow of float32.
        max_weight = max(abs(part.weight) for part in parts)
        total = np.zeros(collection.dim, np.float32)
        for part in parts:
            if isinstance(part.source, np.ndarray):
                if len(part.source) != collection.dim:
                    raise wrong_dimension(collection, len(part.source)).at(part.field.rstrip("."))
                vector = part.source
            elif isinstance(part.source, Like):
                vector = stored[part.source.id]
            else:
                embedding = embedding_or_error(embedded[id(part)])
                if isinstance(embedding, ClipserveError):
                    image = not isinstance(part.source, str) and embedding.field
                    raise embedding.at(f"{part.field}image" if image else part.field.rstrip("."))
                vector = embedding
            total += np.float32(part.weight / max_weight) * vector
        truncated = any(item.truncated for item in items)
        if len(parts) == 1 and parts[0].weight == 1:
            return total, truncated
        length = float(np.linalg.norm(total))
        if length < MIN_LENGTH:
            raise InvalidInput("the weighted parts cancel each other out", field="weighted.parts")
        return (total / length).astype(np.float32), truncated

    async def _stored(
        self, collection: CollectionSpec, parts: Sequence[Part], deadline: Deadline
    ) -> dict[str, Floats]:
        """Embeddings of the points that parts name, by id."""
        named = {part.source.id: part for part in parts if isinstance(part.source, Like)}
        if not named:
            return {}
        fetching = self._engine.fetch(collection.table, list(named), with_embeddings=True)
        points = await before_deadline(fetching, deadline, "search")
        embeddings = {point.id: point.embedding for point in points if point.embedding is not None}
        for id, part in named.items():
            if id not in embeddings:
                raise PointNotFound(
                    f"collection {collection.name!r} has no point {id[:80]!r}", field=f"{part.field}like"
                )
        return embeddings

    async def _groups(self, query: Query, collection: CollectionSpec, embedding: Floats) -> GroupResult:
        """The hits; with their near-duplicates if the query groups them."""
        named = {part.source.id for part in query.parts if isinstance(part.source, Like)}
        table = collection.table
        if query.duplicate_threshold is None:
            hits = await self._engine.search(
                table,
                embedding,
                top_k=query.top_k + len(named),
                filter=query.filter,
                with_payload=query.with_payload,
                consistent=query.consistent,
            )
            others = [hit for hit in hits if hit.id not in named]
            return GroupResult([Group(hit) for hit in others[: query.top_k]])
        result = await find_groups(
            Candidates(self._engine, table, embedding, query.filter, query.consistent),
            query.duplicate_threshold,
            query.top_k,
            without=named,
            lowest=query.score_threshold,
        )
        if not query.with_payload:
            return result
        groups = await with_payloads(self._engine, table, result.groups)
        return GroupResult(groups, result.incomplete)


def keep_fields(group: Group, fields: Sequence[str]) -> Group:
    """The group with only these fields of its payloads."""

    def reduced(hit: Hit) -> Hit:
        payload = {name: value for name, value in hit.payload.items() if name in fields}
        return dataclasses.replace(hit, payload=payload)

    return Group(reduced(group.hit), tuple(map(reduced, group.duplicates)))
