"""Compares the two tables of a migrating collection, in one pass in the order of ids."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point, TableSpec

PAGE = 1024
PAGE_WITH_SOURCES = 32
SAMPLE_SIZE = 100


@dataclass
class Sample:
    """A uniform random sample of ids (reservoir sampling)."""

    ids: list[str] = field(default_factory=list)
    seen: int = 0
    """Number of ids that were added."""

    def add(self, id: str) -> None:
        """Adds an id, which may replace one in the sample."""
        self.seen += 1
        if len(self.ids) < SAMPLE_SIZE:
            self.ids.append(id)
        elif (place := random.randrange(self.seen)) < SAMPLE_SIZE:
            self.ids[place] = id


async def compare(engine: Engine, spec: CollectionSpec) -> AsyncIterator[tuple[str, bool, bool]]:
    """Each id of either table, in order: whether the serving table has it, and whether the rows are equal.

    Rows are equal if their stamps are. Tables of older releases have no stamps: payloads and sources are
    compared instead.
    """
    stamped = all(generation.stamped for generation in spec.generations)
    serving_rows, other_rows = (
        _rows(engine, spec.table_of(generation), stamped=stamped) for generation in spec.generations
    )
    serving, other = await anext(serving_rows, None), await anext(other_rows, None)
    while serving is not None or other is not None:
        if other is None or (serving is not None and serving.id.encode() < other.id.encode()):
            assert serving is not None
            yield serving.id, True, False
            serving = await anext(serving_rows, None)
        elif serving is None or other.id.encode() < serving.id.encode():
            yield other.id, False, False
            other = await anext(other_rows, None)
        else:
            equal = serving.stamp == other.stamp if stamped else _same_content(serving, other)
            yield serving.id, True, equal
            serving, other = await anext(serving_rows, None), await anext(other_rows, None)


async def _rows(engine: Engine, table: TableSpec, *, stamped: bool) -> AsyncIterator[Point]:
    after = ""
    limit = PAGE_WITH_SOURCES if table.keep_sources and not stamped else PAGE
    while points := await engine.scroll(table, after=after, limit=limit, with_sources=not stamped):
        for point in points:
            yield point
        after = points[-1].id


def _same_content(one: Point, other: Point) -> bool:
    content = (one.payload, one.source, one.source_uri)
    return content == (other.payload, other.source, other.source_uri)
