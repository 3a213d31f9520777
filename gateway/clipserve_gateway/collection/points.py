"""Operations on the points of a collection. During a migration, writes go to both tables."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from clipserve_gateway.collection.catalog import Catalog
from clipserve_gateway.collection.embedding import (
    CollectionEmbedder,
    before_deadline,
    check_fingerprint,
    embedding_or_error,
    wrong_dimension,
)
from clipserve_gateway.collection.new_points import Rows, write_rows
from clipserve_gateway.collection.point_values import NewPoint, Page, UpsertOutcome
from clipserve_gateway.collection.point_writes import (
    ATTEMPTS,
    confirm,
    delete_everywhere,
    have_landed,
    writable,
)
from clipserve_gateway.collection.read_size import STEP_WITH_SOURCES
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.spec import CollectionSpec, Generation, check_not_recreated
from clipserve_gateway.collection.stored_source import source_bytes, stored_source
from clipserve_gateway.errors import (
    ClipserveError,
    InvalidInput,
    LimitExceeded,
    MigrationConflict,
    TableNotFound,
    concurrent_change,
)
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Point, TableSpec
from clipserve_gateway.types import Embedded, Floats, Input

T = TypeVar("T")


class PointOps:
    """Points of collections on one engine."""

    def __init__(
        self, engine: Engine, catalog: Catalog, embedder: CollectionEmbedder, sources: SourceReader
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._embedder = embedder
        self._sources = sources

    async def upsert(
        self,
        collection: CollectionSpec,
        points: Sequence[NewPoint | InvalidInput],
        *,
        fingerprint: str,
        deadline: Deadline,
    ) -> UpsertOutcome:
        """Writes the valid points.

        Raises FingerprintMismatch if `fingerprint` or the model as it is served now is not the collection's;
        CollectionNotFound if the collection was deleted, or deleted and created again, in the meantime.
        """
        original = collection
        new = {point.id for point in points if isinstance(point, NewPoint) and point.must_be_new}
        for _ in range(ATTEMPTS):
            check_fingerprint(collection.name, collection.serving, fingerprint)
            outcome, rows = await self._rows(collection, points, deadline)
            deadline.check("index")
            lease = await writable(self._catalog, collection.name, deadline)
            check_not_recreated(original, lease.spec)
            if lease.spec.generations == collection.generations:
                try:
                    with stage("index"):
                        written, taken = await write_rows(self._engine, collection, rows, new, deadline)
                    landed = functools.partial(have_landed, self._engine, written[0][1])
                    await confirm(self._catalog, lease, deadline, landed)
                    return outcome.without(points, taken)
                except TableNotFound:
                    lease = await self._catalog.lease(collection.name, fresh=True)
            # A migration began, switched or ended while the points were being embedded.
            collection = lease.spec
        raise concurrent_change("collection", collection.name)

    async def _rows(
        self, collection: CollectionSpec, points: Sequence[NewPoint | InvalidInput], deadline: Deadline
    ) -> tuple[UpsertOutcome, Rows]:
        """The error of each point, and the rows of the valid points for each generation."""
        by_generation = [
            await self._embeddings(collection, generation, points, deadline)
            for generation in collection.generations
        ]
        statuses: list[ClipserveError | None] = []
        rows: list[list[Point]] = [[] for _ in by_generation]
        truncated: list[bool] = []
        for point, *embedded in zip(points, *by_generation, strict=True):
            truncated.append(any(item.truncated for item in embedded))
            outcomes = [embedding_or_error(item) for item in embedded]
            errors = [item for item in outcomes if isinstance(item, ClipserveError)]
            if errors or isinstance(point, InvalidInput):
                statuses.append(errors[0])
                continue
            source, stamp = None, secrets.randbelow(2**63 - 1) + 1
            if collection.keep_sources:
                source = await stored_source(point.source if point.kept_source is None else point.kept_source)
            point_rows = [
                Point(point.id, point.payload, embedding, source, point.source_uri, stamp)
                for embedding in outcomes
                if isinstance(embedding, np.ndarray)
            ]
            try:
                self._engine.check(collection.table, point_rows[0])
            except InvalidInput as error:
                statuses.append(error)
                continue
            statuses.append(None)
            for generation_rows, row in zip(rows, point_rows, strict=True):
                generation_rows.append(row)
        return UpsertOutcome(statuses, truncated), list(zip(collection.generations, rows, strict=True))

    async def _embeddings(
        self,
        collection: CollectionSpec,
        generation: Generation,
        points: Sequence[NewPoint | InvalidInput],
        deadline: Deadline,
    ) -> list[Embedded]:
        """The embedding of each point by a generation's model, or its error."""
        inputs = [await self._input(collection, generation, point) for point in points]
        to_embed = [item for item in inputs if not isinstance(item, np.ndarray | ClipserveError)]
        computed = iter(await self._embedder.embed(collection.name, generation, to_embed, deadline))
        return [
            Embedded(item)
            if isinstance(item, np.ndarray)
            else Embedded(error=item)
            if isinstance(item, ClipserveError)
            else next(computed)
            for item in inputs
        ]

    async def _input(
        self, collection: CollectionSpec, generation: Generation, point: NewPoint | InvalidInput
    ) -> Input | Floats | ClipserveError:
        """What a generation embeds for a point: an input, the given embedding, or an error."""
        if isinstance(point, InvalidInput):
            return point
        if not isinstance(point.source, np.ndarray):
            return point.source
        if generation == collection.serving:
            fits = len(point.source) == collection.dim
            return point.source if fits else wrong_dimension(collection, len(point.source))
        if point.kept_source is not None:
            return point.kept_source
        if point.source_uri:
            return await self._sources.read(point.source_uri)
        return MigrationConflict(
            f"collection {collection.name!r} is migrating to another model, so an embedding alone is not "
            "enough; send the image or text",
            field="embedding",
        )

    async def delete(self, name: str, ids: Sequence[str], deadline: Deadline) -> int:
        """Deletes points by id; returns how many existed."""

        async def gone(spec: CollectionSpec) -> bool:
            return not await self._engine.fetch(spec.table, ids)

        with stage("index"):
            return await delete_everywhere(
                self._catalog, name, lambda table: self._engine.delete(table, ids), gone, deadline
            )

    async def delete_where(self, collection: CollectionSpec, filter: Filter, deadline: Deadline) -> int:
        """Deletes the points that match the filter; returns how many matched."""

        async def gone(spec: CollectionSpec) -> bool:
            return not await self._engine.count(spec.table, filter)

        with stage("index"):
            return await delete_everywhere(
                self._catalog,
                collection.name,
                lambda table: self._engine.delete_where(table, filter),
                gone,
                deadline,
            )

    async def fetch(
        self,
        collection: CollectionSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool,
        with_sources: bool,
        max_bytes: int,
        deadline: Deadline,
    ) -> list[Point]:
        """The points that exist, in the order of `ids`.

        Raises LimitExceeded if their sources have more than `max_bytes`.
        """
        step = STEP_WITH_SOURCES if with_sources else len(ids)
        points: list[Point] = []
        for first in range(0, len(ids), step):
            read = functools.partial(
                self._engine.fetch,
                ids=ids[first : first + step],
                with_embeddings=with_embeddings,
                with_sources=with_sources,
            )
            points += await self._read(collection, read, deadline)
            if source_bytes(points) > max_bytes:
                raise LimitExceeded(
                    f"the sources of these points have more than {max_bytes} bytes; request fewer points at "
                    "a time",
                    field="ids",
                    limit=max_bytes,
                )
        return points

    async def scroll(
        self,
        collection: CollectionSpec,
        *,
        after: str,
        limit: int,
        filter: Filter | None,
        with_embeddings: bool,
        with_sources: bool,
        max_bytes: int,
        deadline: Deadline,
    ) -> Page:
        """Up to `limit` points whose ids follow `after`; fewer once their sources have `max_bytes`."""
        read = functools.partial(
            self._engine.scroll,
            after=after,
            limit=limit + 1,
            filter=filter,
            with_embeddings=with_embeddings,
        )
        points = await self._read(collection, read, deadline)
        page = Page(points[:limit], len(points) > limit)
        return await self._with_sources(collection, page, max_bytes, deadline) if with_sources else page

    async def _with_sources(
        self, collection: CollectionSpec, page: Page, max_bytes: int, deadline: Deadline
    ) -> Page:
        """The page's points with their sources; fewer points once the sources have `max_bytes`."""
        complete: list[Point] = []
        for first in range(0, len(page.points), STEP_WITH_SOURCES):
            points = page.points[first : first + STEP_WITH_SOURCES]
            ids = [point.id for point in points]
            read = functools.partial(self._engine.fetch, ids=ids, with_sources=True)
            sources = {point.id: point.source for point in await self._read(collection, read, deadline)}
            # Points that were deleted since the page was read are left out.
            complete += [replace(point, source=sources[point.id]) for point in points if point.id in sources]
            if complete and source_bytes(complete) >= max_bytes:
                return Page(complete, page.more or first + STEP_WITH_SOURCES < len(page.points))
        return Page(complete, page.more)

    async def count(self, collection: CollectionSpec, filter: Filter | None, deadline: Deadline) -> int:
        """Number of points, or of points that match the filter."""
        return await self._read(collection, lambda table: self._engine.count(table, filter), deadline)

    async def _read(
        self, collection: CollectionSpec, read: Callable[[TableSpec], Awaitable[T]], deadline: Deadline
    ) -> T:
        with stage("index"):
            return await self._catalog.reading(
                collection.name, lambda spec: before_deadline(read(spec.table), deadline, "index")
            )
