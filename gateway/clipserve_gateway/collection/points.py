"""What can be done with the points of a collection. While it moves to another model, writes go to both."""

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
    check_fingerprint,
    in_time,
    outcome_of,
    wrong_dimension,
)
from clipserve_gateway.collection.new_points import write_rows
from clipserve_gateway.collection.point_values import NewPoint, Page, UpsertOutcome, ids_to_insert
from clipserve_gateway.collection.point_writes import (
    ATTEMPTS,
    confirm,
    delete_everywhere,
    have_landed,
    writable,
)
from clipserve_gateway.collection.read_size import STEP_WITH_SOURCES
from clipserve_gateway.collection.sources import SourceReader
from clipserve_gateway.collection.spec import CollectionSpec, Generation
from clipserve_gateway.collection.stored_source import source_bytes, stored_source
from clipserve_gateway.errors import (
    ClipserveError,
    CollectionNotFound,
    Conflict,
    InvalidInput,
    LimitExceeded,
    MigrationConflict,
    TableNotFound,
)
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.stages import stage
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Point, TableSpec
from clipserve_gateway.types import Embedded, Floats, Input

T = TypeVar("T")


class PointOps:
    """Points of collections, on one engine."""

    def __init__(
        self, engine: Engine, catalog: Catalog, embedder: CollectionEmbedder, sources: SourceReader
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._embedder = embedder
        self._sources = sources

    async def collection(self, name: str) -> CollectionSpec:
        """The collection of that name or alias; CollectionNotFound."""
        return await self._catalog.get(name)

    async def upsert(
        self,
        collection: CollectionSpec,
        points: Sequence[NewPoint | InvalidInput],
        *,
        fingerprint: str,
        deadline: Deadline,
    ) -> UpsertOutcome:
        """Writes the good points.

        Raises FingerprintMismatch where `fingerprint`, or the model as it is served now, is not the
        collection's; CollectionNotFound where the collection was dropped, or made anew, in the meantime.
        """
        created, new = collection.create_time, ids_to_insert(points)
        for _ in range(ATTEMPTS):
            check_fingerprint(collection.name, collection.serving, fingerprint)
            outcome, written = await self._embedded(collection, points, deadline)
            deadline.check("index")
            lease = await writable(self._catalog, collection.name, deadline)
            if lease.spec.create_time != created:
                raise CollectionNotFound(f"{collection.name!r} was made anew", field="collection")
            if lease.spec.generations == collection.generations:
                try:
                    with stage("index"):
                        kept, taken = await write_rows(self._engine, collection, written, new, deadline)
                    landed = functools.partial(have_landed, self._engine, kept[0][1])
                    await confirm(self._catalog, lease, deadline, landed)
                    return outcome.without(points, taken)
                except TableNotFound:
                    lease = await self._catalog.lease(collection.name, fresh=True)
            # Its migration began, was switched or ended while the points were being embedded.
            collection = lease.spec
        raise Conflict(f"collection {collection.name!r} is being changed by others; try again")

    async def _embedded(
        self, collection: CollectionSpec, points: Sequence[NewPoint | InvalidInput], deadline: Deadline
    ) -> tuple[UpsertOutcome, list[tuple[Generation, list[Point]]]]:
        """What is wrong with each point, and the rows of the good ones for each generation."""
        found = [
            await self._embeddings(collection, generation, points, deadline)
            for generation in collection.generations
        ]
        statuses: list[ClipserveError | None] = []
        rows: list[list[Point]] = [[] for _ in found]
        truncated: list[bool] = []
        for point, *embedded in zip(points, *found, strict=True):
            truncated.append(any(item.truncated for item in embedded))
            outcomes = [outcome_of(item) for item in embedded]
            errors = [item for item in outcomes if isinstance(item, ClipserveError)]
            if errors or isinstance(point, InvalidInput):
                statuses.append(errors[0])
                continue
            embeddings = [item for item in outcomes if isinstance(item, np.ndarray)]
            source, stamp = None, secrets.randbelow(2**63 - 1) + 1
            if collection.keep_sources:
                source = await stored_source(point.source if point.kept_source is None else point.kept_source)
            made = [Point(point.id, point.payload, it, source, point.source_uri, stamp) for it in embeddings]
            statuses.append(self._refusal(collection, made[0]))
            if statuses[-1] is None:
                for row, stored in zip(rows, made, strict=True):
                    row.append(stored)
        return UpsertOutcome(statuses, truncated), list(zip(collection.generations, rows, strict=True))

    def _refusal(self, collection: CollectionSpec, point: Point) -> InvalidInput | None:
        """Why the engine cannot hold a point."""
        try:
            self._engine.check(collection.table, point)
        except InvalidInput as error:
            return error
        return None

    async def _embeddings(
        self,
        collection: CollectionSpec,
        generation: Generation,
        points: Sequence[NewPoint | InvalidInput],
        deadline: Deadline,
    ) -> list[Embedded]:
        """The embedding of each point by a generation's model, or why there is none."""
        serving = generation == collection.serving
        inputs: list[Input | Floats | ClipserveError] = []
        for point in points:
            if isinstance(point, InvalidInput):
                inputs.append(point)
            elif not isinstance(point.source, np.ndarray):
                inputs.append(point.source)
            elif serving:
                fits = len(point.source) == collection.dim
                inputs.append(point.source if fits else wrong_dimension(collection, len(point.source)))
            elif point.kept_source is not None:
                inputs.append(point.kept_source)
            elif point.source_uri:
                inputs.append(await self._sources.read(point.source_uri))
            else:
                inputs.append(
                    MigrationConflict(
                        f"collection {collection.name!r} is moving to another model; send the image or text",
                        field="embedding",
                    )
                )
        to_embed = [item for item in inputs if not isinstance(item, np.ndarray | ClipserveError)]
        made = iter(await self._embedder.embed(collection.name, generation, to_embed, deadline))
        return [
            Embedded(item)
            if isinstance(item, np.ndarray)
            else Embedded(error=item)
            if isinstance(item, ClipserveError)
            else next(made)
            for item in inputs
        ]

    async def delete(self, name: str, ids: Sequence[str], deadline: Deadline) -> int:
        """Removes points; how many of the ids existed."""

        async def gone(spec: CollectionSpec) -> bool:
            return not await self._engine.fetch(spec.table, ids)

        with stage("index"):
            return await delete_everywhere(
                self._catalog, name, lambda table: self._engine.delete(table, ids), gone, deadline
            )

    async def delete_where(self, collection: CollectionSpec, filter: Filter, deadline: Deadline) -> int:
        """Removes the points that meet the filter; how many there were."""

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
        """The points that exist, in the order of `ids`; LimitExceeded where sources have over `max_bytes`."""
        step = STEP_WITH_SOURCES if with_sources else len(ids)
        found: list[Point] = []
        for first in range(0, len(ids), step):
            some = ids[first : first + step]
            found += await self._read(
                collection,
                functools.partial(
                    self._engine.fetch, ids=some, with_embeddings=with_embeddings, with_sources=with_sources
                ),
                deadline,
            )
            if source_bytes(found) > max_bytes:
                raise LimitExceeded(
                    f"the sources of these points have more than {max_bytes} bytes; ask for fewer at a time",
                    field="ids",
                    metadata={"limit": str(max_bytes)},
                )
        return found

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
        some = await self._read(
            collection,
            functools.partial(
                self._engine.scroll,
                after=after,
                limit=limit + 1,
                filter=filter,
                with_embeddings=with_embeddings,
            ),
            deadline,
        )
        page = Page(some[:limit], len(some) > limit)
        return await self._with_sources(collection, page, max_bytes, deadline) if with_sources else page

    async def _with_sources(
        self, collection: CollectionSpec, page: Page, max_bytes: int, deadline: Deadline
    ) -> Page:
        """The page's points with their sources; fewer once these have `max_bytes`."""
        found: list[Point] = []
        for first in range(0, len(page.points), STEP_WITH_SOURCES):
            some = page.points[first : first + STEP_WITH_SOURCES]
            ids = [point.id for point in some]
            read = functools.partial(self._engine.fetch, ids=ids, with_sources=True)
            sources = {it.id: it.source for it in await self._read(collection, read, deadline)}
            # What was deleted since the page was read has no place in it.
            found += [replace(it, source=sources[it.id]) for it in some if it.id in sources]
            if found and source_bytes(found) >= max_bytes:
                return Page(found, page.more or first + STEP_WITH_SOURCES < len(page.points))
        return Page(found, page.more)

    async def count(self, collection: CollectionSpec, filter: Filter | None, deadline: Deadline) -> int:
        """Points, all or those that meet the filter."""
        return await self._read(collection, lambda table: self._engine.count(table, filter), deadline)

    async def _read(
        self, collection: CollectionSpec, read: Callable[[TableSpec], Awaitable[T]], deadline: Deadline
    ) -> T:
        with stage("index"):
            return await self._catalog.reading(
                collection.name, lambda spec: in_time(read(spec.table), deadline, "index")
            )
