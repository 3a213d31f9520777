"""Fills the table of a migration's new model from the sources of the points."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

import numpy as np

from clipserve_gateway.collection.embedding import CollectionEmbedder, embedding_or_error
from clipserve_gateway.collection.migration_compare import Sample, compare
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.spec import CollectionSpec, Generation, Overlap
from clipserve_gateway.errors import (
    ClipserveError,
    FingerprintMismatch,
    InvalidInput,
    ModelNotFound,
    ModelUnavailable,
    SourcesNotKept,
)
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point
from clipserve_gateway.types import EncodedImage, Input

log = logging.getLogger(__name__)

BATCH = 16
"""Points in memory at a time with their sources, which can have 20 MiB each."""
EMBED_SECONDS = 120.0
OVERLAP_K = 10
BEAT_POINTS = 512
CHECKED_POINTS = 100
"""Points whose sources are checked before a migration begins."""
MAX_CONCURRENT = 8
"""Concurrent neighbor queries."""

Failures = list[tuple[str, str]]
"""Ids of points that could not be embedded again, with the reason."""


class Filler:
    """Embeds points with the new model, and compares the results of both models."""

    def __init__(self, engine: Engine, embedder: CollectionEmbedder, sources: SourceReader) -> None:
        self._engine = engine
        self._embedder = embedder
        self._sources = sources

    async def check_sources(self, spec: CollectionSpec) -> None:
        """Raises SourcesNotKept if none of the first points has a readable source."""
        points = await self._engine.scroll(spec.table, after="", limit=CHECKED_POINTS)
        readable = any(self._sources.allows(point.source_uri) for point in points)
        if points and not spec.keep_sources and not readable:
            raise SourcesNotKept(
                f"collection {spec.name!r} does not store sources, and none of its first {len(points)} "
                "points has a source_uri that this server may read. Index the collection again with "
                "--keep-sources, or let the operator allow the location (CLIPSERVE_SOURCE_PREFIXES)",
                field="collection",
            )

    async def page(self, spec: CollectionSpec, after: str) -> list[str]:
        """The next ids of the serving table."""
        return [point.id for point in await self._engine.scroll(spec.table, after=after, limit=BATCH)]

    async def add(self, spec: CollectionSpec, ids: Sequence[str]) -> Failures:
        """Embeds points again and adds those that the new table lacks; returns the points that failed.

        Raises errors that concern all points: the model is not served, the engine does not answer.
        """
        generation = spec.generations[1]
        table = spec.table_of(generation)
        existing = {point.id for point in await self._engine.fetch(table, ids)}
        missing = [id for id in ids if id not in existing]
        if not missing:
            return []
        rows, failures = await self._embed(spec, missing)
        if rows:
            await self._engine.upsert(table, rows, replace=False)
            await self._delete_deleted(spec, [row.id for row in rows])
        return failures

    async def _embed(self, spec: CollectionSpec, ids: Sequence[str]) -> tuple[list[Point], Failures]:
        """The points of the serving table with embeddings of the new model, and the points that failed.

        Raises errors that concern all points.
        """
        points = await self._engine.fetch(spec.table, ids, with_sources=True)
        inputs = await asyncio.gather(*(self._source(point) for point in points))
        deadline = Deadline.after(EMBED_SECONDS)
        with in_lane(Lane.BULK):
            items = await self._embedder.embed(spec.name, spec.generations[1], inputs, deadline)
        if truncated := sum(item.truncated for item in items):
            model = spec.generations[1].model
            log.warning("%d texts of %s are too long for model %s: truncated", truncated, spec.name, model)
        failures: Failures = []
        rows: list[Point] = []
        for point, item in zip(points, items, strict=True):
            embedding = embedding_or_error(item)
            if isinstance(embedding, ModelUnavailable | ModelNotFound | FingerprintMismatch):
                raise embedding
            if isinstance(embedding, ClipserveError):
                failures.append((point.id, embedding.message))
            else:
                rows.append(dataclasses.replace(point, embedding=embedding))
        return rows, failures

    async def _source(self, point: Point) -> Input:
        """The source of a point, or an InvalidInput that says why it is not available."""
        if point.source is not None:
            content = point.source.content
            return EncodedImage(content) if point.source.kind == "image" else content.decode()
        if point.source_uri:
            return await self._sources.read(point.source_uri)
        return InvalidInput("it has neither a stored source nor a source_uri")

    async def _delete_deleted(self, spec: CollectionSpec, ids: Sequence[str]) -> None:
        """Deletes points from the new table that were deleted from the serving one in the meantime."""
        existing = {point.id for point in await self._engine.fetch(spec.table, ids)} if ids else set()
        deleted = [id for id in ids if id not in existing]
        if deleted:
            await self._engine.delete(spec.table_of(spec.generations[1]), deleted)

    async def reconcile(
        self,
        spec: CollectionSpec,
        beat: Callable[[], Awaitable[object]],
        *,
        fenced: bool = False,
        keep: Collection[str] = (),
    ) -> tuple[Failures, Sample]:
        """Makes the other table equal to the serving one; returns the points that failed, and a sample.

        Args:
            beat: called regularly, to show that the work continues.
            fenced: whether writes are blocked. If not, a point that cannot be embedded stays as it is,
                because a running write may be about to write it.
            keep: ids to keep in the other table although the serving table does not have them.
        """
        failures: Failures = []
        sample = Sample()
        differing: list[str] = []
        extra: list[str] = []
        async for id, served, equal in compare(self._engine, spec):
            if served:
                sample.add(id)
            if not served and id not in keep:
                extra.append(id)
            elif served and not equal:
                differing.append(id)
            if len(differing) == BATCH:
                failures += await self._repair(spec, differing, fenced=fenced)
                differing.clear()
            if len(extra) == BATCH:
                await self._delete_deleted(spec, extra)
                extra.clear()
            if sample.seen % BEAT_POINTS == 0:
                await beat()
        failures += await self._repair(spec, differing, fenced=fenced) if differing else []
        await self._delete_deleted(spec, extra)
        return failures, sample

    async def _repair(self, spec: CollectionSpec, ids: Sequence[str], *, fenced: bool) -> Failures:
        """Writes points again into the other table; returns the points that failed."""
        rows, failures = await self._embed(spec, ids)
        table = spec.table_of(spec.generations[1])
        if rows:
            await self._engine.upsert(table, rows)
        if fenced and failures:
            # An older version of the point must not be served.
            await self._engine.delete(table, [id for id, _ in failures])
        elif not fenced:
            await self._delete_deleted(spec, [row.id for row in rows])
        return failures

    async def overlap(self, spec: CollectionSpec, ids: Sequence[str]) -> Overlap | None:
        """The share of nearest neighbors of these points that both models agree on."""
        slots = asyncio.Semaphore(MAX_CONCURRENT)

        async def share(id: str) -> float | None:
            async with slots:
                old, new = [await self._neighbors(spec, generation, id) for generation in spec.generations]
            k = min(len(old), len(new), OVERLAP_K)
            return len(set(old[:k]) & set(new[:k])) / k if k else None

        shares = [one for one in await asyncio.gather(*map(share, ids)) if one is not None]
        if not shares:
            return None
        return Overlap(OVERLAP_K, len(shares), float(np.mean(shares)), float(np.quantile(shares, 0.1)))

    async def _neighbors(self, spec: CollectionSpec, generation: Generation, id: str) -> list[str]:
        table = spec.table_of(generation)
        points = await self._engine.fetch(table, [id], with_embeddings=True)
        if not points or points[0].embedding is None:
            return []
        hits = await self._engine.search(
            table, points[0].embedding, top_k=OVERLAP_K + 1, with_payload=False, consistent=True
        )
        return [hit.id for hit in hits if hit.id != id][:OVERLAP_K]
