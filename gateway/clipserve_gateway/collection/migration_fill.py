"""Fills the table of a collection's new model from the sources of its points."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

import numpy as np

from clipserve_gateway.collection.embedding import CollectionEmbedder, outcome_of
from clipserve_gateway.collection.migration_compare import Drawn, compare
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
"""Points in memory at a time with their sources, which may have 20 MiB each."""
EMBED_SECONDS = 120.0
OVERLAP_K = 10
BEAT_POINTS = 512
LOOKED_AT = 100
"""Points whose sources are looked at before a migration begins."""
SIDE_BY_SIDE = 8

Failures = list[tuple[str, str]]
"""Ids of points that could not be embedded anew, and why."""


class Filler:
    """Embeds points anew, and compares what two models make of them."""

    def __init__(self, engine: Engine, embedder: CollectionEmbedder, sources: SourceReader) -> None:
        self._engine = engine
        self._embedder = embedder
        self._sources = sources

    async def check_sources(self, spec: CollectionSpec) -> None:
        """SourcesNotKept where the first points have nothing that they could be embedded from."""
        points = await self._engine.scroll(spec.table, after="", limit=LOOKED_AT)
        readable = any(self._sources.allows(point.source_uri) for point in points)
        if points and not spec.keep_sources and not readable:
            raise SourcesNotKept(
                f"collection {spec.name!r} keeps no sources, and none of its first {len(points)} points has "
                "a source_uri that this server may read; index it anew with --keep-sources, or have its "
                "operator allow the place (CLIPSERVE_SOURCE_PREFIXES)",
                field="collection",
            )

    async def page(self, spec: CollectionSpec, after: str) -> list[str]:
        """The next ids of the old table."""
        return [point.id for point in await self._engine.scroll(spec.table, after=after, limit=BATCH)]

    async def add(self, spec: CollectionSpec, ids: Sequence[str]) -> Failures:
        """Embeds points anew and adds those that are not there; those that cannot be.

        Raises what concerns them all: a model that is not served, an engine that does not answer.
        """
        generation = spec.generations[1]
        table = spec.table_of(generation)
        there = {point.id for point in await self._engine.fetch(table, ids)}
        missing = [id for id in ids if id not in there]
        if not missing:
            return []
        rows, failures = await self._embed(spec, missing)
        if rows:
            await self._engine.upsert(table, rows, replace=False)
            await self._forget_deleted(spec, [row.id for row in rows])
        return failures

    async def _embed(self, spec: CollectionSpec, ids: Sequence[str]) -> tuple[list[Point], Failures]:
        """Points as they are in the table that answers, with embeddings of the other model.

        Raises what concerns them all: a model that is not served, an engine that does not answer.
        """
        points = await self._engine.fetch(spec.table, ids, with_sources=True)
        inputs = await asyncio.gather(*(self._source(point) for point in points))
        deadline = Deadline.after(EMBED_SECONDS)
        with in_lane(Lane.BULK):
            items = await self._embedder.embed(spec.name, spec.generations[1], inputs, deadline)
        if cut := sum(item.truncated for item in items):
            model = spec.generations[1].model
            log.warning("%d texts of %s are too long for model %s and lose their end", cut, spec.name, model)
        failures: Failures = []
        rows: list[Point] = []
        for point, item in zip(points, items, strict=True):
            found = outcome_of(item)
            if isinstance(found, ModelUnavailable | ModelNotFound | FingerprintMismatch):
                raise found
            if isinstance(found, ClipserveError):
                failures.append((point.id, found.message))
            else:
                rows.append(dataclasses.replace(point, embedding=found))
        return rows, failures

    async def _source(self, point: Point) -> Input:
        """What a point was made of, or an InvalidInput that says why it is not to be had."""
        if point.source is not None:
            content = point.source.content
            return EncodedImage(content) if point.source.kind == "image" else content.decode()
        if point.source_uri:
            return await self._sources.read(point.source_uri)
        return InvalidInput("it has neither a kept source nor a source_uri")

    async def _forget_deleted(self, spec: CollectionSpec, ids: Sequence[str]) -> None:
        """Removes from the new table what was deleted from the old one in the meantime."""
        there = {point.id for point in await self._engine.fetch(spec.table, ids)} if ids else set()
        deleted = [id for id in ids if id not in there]
        if deleted:
            await self._engine.delete(spec.table_of(spec.generations[1]), deleted)

    async def reconcile(
        self,
        spec: CollectionSpec,
        beat: Callable[[], Awaitable[object]],
        *,
        fenced: bool = False,
        kept: Collection[str] = (),
    ) -> tuple[Failures, Drawn]:
        """Makes the other table equal to the one that answers; points it cannot have, and what was drawn.

        Args:
            beat: called again and again, to show that the work goes on.
            fenced: whether no write comes in between. Otherwise what cannot be embedded is left as it is: a
                write under way may be about to bring it.
            kept: ids that stay in the other table though the one that answers does not have them.
        """
        failures: Failures = []
        drawn = Drawn()
        differing: list[str] = []
        gone: list[str] = []
        async for id, there, same in compare(self._engine, spec):
            if there:
                drawn.add(id)
            if not there and id not in kept:
                gone.append(id)
            elif there and not same:
                differing.append(id)
            if len(differing) == BATCH:
                failures += await self._mend(spec, differing, fenced=fenced)
                differing.clear()
            if len(gone) == BATCH:
                await self._forget_deleted(spec, gone)
                gone.clear()
            if drawn.seen % BEAT_POINTS == 0:
                await beat()
        failures += await self._mend(spec, differing, fenced=fenced) if differing else []
        await self._forget_deleted(spec, gone)
        return failures, drawn

    async def _mend(self, spec: CollectionSpec, ids: Sequence[str], *, fenced: bool) -> Failures:
        """Writes points anew into the other table; those that it cannot have."""
        rows, failures = await self._embed(spec, ids)
        table = spec.table_of(spec.generations[1])
        if rows:
            await self._engine.upsert(table, rows)
        if fenced and failures:
            # An older version must not answer for them.
            await self._engine.delete(table, [id for id, _ in failures])
        elif not fenced:
            await self._forget_deleted(spec, [row.id for row in rows])
        return failures

    async def overlap(self, spec: CollectionSpec, ids: Sequence[str]) -> Overlap | None:
        """How many of the nearest neighbors of these points both models agree on."""
        gate = asyncio.Semaphore(SIDE_BY_SIDE)

        async def share(id: str) -> float | None:
            async with gate:
                old, new = [await self._neighbors(spec, generation, id) for generation in spec.generations]
            k = min(len(old), len(new), OVERLAP_K)
            return len(set(old[:k]) & set(new[:k])) / k if k else None

        shares = [found for found in await asyncio.gather(*map(share, ids)) if found is not None]
        if not shares:
            return None
        return Overlap(OVERLAP_K, len(shares), float(np.mean(shares)), float(np.quantile(shares, 0.1)))

    async def _neighbors(self, spec: CollectionSpec, generation: Generation, id: str) -> list[str]:
        table = spec.table_of(generation)
        found = await self._engine.fetch(table, [id], with_embeddings=True)
        if not found or found[0].embedding is None:
            return []
        hits = await self._engine.search(
            table, found[0].embedding, top_k=OVERLAP_K + 1, with_payload=False, consistent=True
        )
        return [hit.id for hit in hits if hit.id != id][:OVERLAP_K]
