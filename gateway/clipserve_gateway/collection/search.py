"""Finds the points of a collection that are nearest to texts, images, embeddings, or points of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.duplicates import Group
from clipserve_gateway.collection.embedding import (
    CollectionEmbedder,
    check_fingerprint,
    in_time,
    outcome_of,
    wrong_dimension,
)
from clipserve_gateway.collection.group_search import MOST_HITS, Found, Nearest, find_groups, with_payloads
from clipserve_gateway.collection.score_statistics import GOOD_PERCENTILE, Judge, QueryKind, Statistics
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import ClipserveError, InvalidInput, PointNotFound
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Hit
from clipserve_gateway.types import Floats, Input

SMALLEST_SUM = 1e-3
"""Length below which a sum of unit vectors, the heaviest of weight 1, has no direction worth searching in."""


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
    """What to look for. `filter` is made of the collection's schema, which is known only then."""

    collection: str
    parts: tuple[Part, ...]
    top_k: int
    score_threshold: float | None
    filter: Callable[[CollectionSpec], Filter | None]
    with_payload: bool
    payload_fields: Callable[[CollectionSpec], Sequence[str]]
    fingerprint: str
    consistent: bool
    duplicate_threshold: float | None
    """Cosine from which hits are grouped; None does not group."""

    @property
    def kind(self) -> QueryKind | None:
        """The kind of unrelated pairs that its scores are to be judged by."""
        source = self.parts[0].source
        if len(self.parts) > 1 or isinstance(source, np.ndarray):
            return None
        return "text" if isinstance(source, str) else "image"

    @property
    def most_hits(self) -> int:
        """Hits that are read at a time, at most."""
        wanted = self.top_k + len(self.parts)
        return wanted if self.duplicate_threshold is None else max(wanted, MOST_HITS)


@dataclass(frozen=True)
class SearchOutcome:
    """The collection that was searched, and its nearest points, best first."""

    collection: CollectionSpec
    groups: list[Group]
    truncated: bool
    judge: Judge | None
    """What places their scores among those of unrelated pairs."""
    incomplete: bool = False
    """Whether points were not looked at that could make other groups of duplicates."""

    @property
    def weak_match(self) -> bool:
        """Whether there are hits, and not even the best one stands out from unrelated pairs."""
        if self.judge is None or not self.groups:
            return False
        return self.judge.percentile(self.groups[0].hit.score) < GOOD_PERCENTILE


class Searcher:
    """Queries in, hits out."""

    def __init__(
        self, engine: Engine, catalog: Catalog, embedder: CollectionEmbedder, statistics: Statistics
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._embedder = embedder
        self._statistics = statistics

    async def search(self, query: Query, *, deadline: Deadline) -> SearchOutcome:
        """The nearest points.

        Raises CollectionNotFound, FingerprintMismatch, DimensionMismatch, PointNotFound, or the query's own
        error.
        """
        return await self._catalog.reading(
            query.collection, lambda collection: self._search(query, collection, deadline)
        )

    async def _search(self, query: Query, collection: CollectionSpec, deadline: Deadline) -> SearchOutcome:
        check_fingerprint(collection.name, collection.serving, query.fingerprint)
        filter, fields = query.filter(collection), query.payload_fields(collection)
        if query.kind:
            # Those of a first search are made meanwhile.
            self._statistics.get(collection, query.kind)
        embedding, truncated = await self._embedding(collection, query.parts, deadline)
        deadline.check("search")
        with stage("search"):
            found = await in_time(self._groups(query, collection, embedding, filter), deadline, "search")
        groups = found.groups
        if query.score_threshold is not None:
            groups = [group for group in groups if group.hit.score >= query.score_threshold]
        if fields:
            groups = [only(group, fields) for group in groups]
        background = await self._statistics.soon(collection, query.kind, deadline) if query.kind else None
        judge = None if background is None else background.judge(embedding)
        return SearchOutcome(collection, groups, truncated, judge, found.incomplete)

    async def _embedding(
        self, collection: CollectionSpec, parts: Sequence[Part], deadline: Deadline
    ) -> tuple[Floats, bool]:
        """The query's normalized embedding, and whether a text was cut."""
        made = [part for part in parts if not isinstance(part.source, np.ndarray | Like)]
        inputs: list[Input] = [part.source for part in made if not isinstance(part.source, np.ndarray | Like)]
        items = await self._embedder.embed(collection.name, collection.serving, inputs, deadline)
        stored = await self._stored(collection, parts, deadline)
        embedded = {id(part): item for part, item in zip(made, items, strict=True)}
        # Of weights only their ratios count; numbers near either end of float32 would leave it.
        heaviest = max(abs(part.weight) for part in parts)
        total = np.zeros(collection.dim, np.float32)
        for part in parts:
            if isinstance(part.source, np.ndarray):
                if len(part.source) != collection.dim:
                    raise wrong_dimension(collection, len(part.source)).at(part.field.rstrip("."))
                vector = part.source
            elif isinstance(part.source, Like):
                vector = stored[part.source.id]
            else:
                found = outcome_of(embedded[id(part)])
                if isinstance(found, ClipserveError):
                    image = not isinstance(part.source, str) and found.field
                    raise found.at(f"{part.field}image" if image else part.field.rstrip("."))
                vector = found
            total += np.float32(part.weight / heaviest) * vector
        truncated = any(item.truncated for item in items)
        if len(parts) == 1 and parts[0].weight == 1:
            return total, truncated
        length = float(np.linalg.norm(total))
        if length < SMALLEST_SUM:
            raise InvalidInput("the parts cancel each other out", field="weighted.parts")
        return (total / length).astype(np.float32), truncated

    async def _stored(
        self, collection: CollectionSpec, parts: Sequence[Part], deadline: Deadline
    ) -> dict[str, Floats]:
        """Embeddings of the points that parts name."""
        wanted = {part.source.id: part for part in parts if isinstance(part.source, Like)}
        if not wanted:
            return {}
        fetching = self._engine.fetch(collection.table, list(wanted), with_embeddings=True)
        points = await in_time(fetching, deadline, "search")
        found = {point.id: point.embedding for point in points if point.embedding is not None}
        for id, part in wanted.items():
            if id not in found:
                raise PointNotFound(
                    f"collection {collection.name!r} has no point {id[:80]!r}", field=f"{part.field}like"
                )
        return found

    async def _groups(
        self, query: Query, collection: CollectionSpec, embedding: Floats, filter: Filter | None
    ) -> Found:
        """The hits, each with its near-duplicates where they are wanted."""
        named = {part.source.id for part in query.parts if isinstance(part.source, Like)}
        table = collection.table
        if query.duplicate_threshold is None:
            hits = await self._engine.search(
                table,
                embedding,
                top_k=query.top_k + len(named),
                filter=filter,
                with_payload=query.with_payload,
                consistent=query.consistent,
            )
            others = [hit for hit in hits if hit.id not in named]
            return Found([Group(hit) for hit in others[: query.top_k]])
        found = await find_groups(
            Nearest(self._engine, table, embedding, filter, query.consistent),
            query.duplicate_threshold,
            query.top_k,
            without=named,
            lowest=query.score_threshold,
        )
        if not query.with_payload:
            return found
        return Found(await with_payloads(self._engine, table, found.groups), found.incomplete)


def only(group: Group, fields: Sequence[str]) -> Group:
    """The group with these fields of its payloads."""

    def one(hit: Hit) -> Hit:
        return dataclasses.replace(hit, payload={k: v for k, v in hit.payload.items() if k in fields})

    return Group(one(group.hit), tuple(map(one, group.duplicates)))
