"""Compares the two tables of a collection that is being migrated, in one pass in the order of ids."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Point, TableSpec

PAGE = 1024
PAGE_WITH_SOURCES = 32
DRAWN = 100


@dataclass
class Drawn:
    """Ids drawn at random, each with the same chance, and how many there were."""

    ids: list[str] = field(default_factory=list)
    seen: int = 0

    def add(self, id: str) -> None:
        """Looks at one more (reservoir sampling)."""
        self.seen += 1
        if len(self.ids) < DRAWN:
            self.ids.append(id)
        elif (place := random.randrange(self.seen)) < DRAWN:
            self.ids[place] = id


async def compare(engine: Engine, spec: CollectionSpec) -> AsyncIterator[tuple[str, bool, bool]]:
    """Each id of either table, in order: whether the collection has it, and whether both hold one version.

    Stamps tell versions apart. Tables of older releases hold none: there, payloads and sources do.
    """
    stamped = all(generation.stamped for generation in spec.generations)
    here, there = (_rows(engine, spec.table_of(it), stamped=stamped) for it in spec.generations)
    ours, others = await anext(here, None), await anext(there, None)
    while ours is not None or others is not None:
        if others is None or (ours is not None and ours.id.encode() < others.id.encode()):
            assert ours is not None
            yield ours.id, True, False
            ours = await anext(here, None)
        elif ours is None or others.id.encode() < ours.id.encode():
            yield others.id, False, False
            others = await anext(there, None)
        else:
            yield ours.id, True, ours.stamp == others.stamp if stamped else _alike(ours, others)
            ours, others = await anext(here, None), await anext(there, None)


async def _rows(engine: Engine, table: TableSpec, *, stamped: bool) -> AsyncIterator[Point]:
    after = ""
    limit = PAGE_WITH_SOURCES if table.keep_sources and not stamped else PAGE
    while points := await engine.scroll(table, after=after, limit=limit, with_sources=not stamped):
        for point in points:
            yield point
        after = points[-1].id


def _alike(one: Point, other: Point) -> bool:
    same = (one.payload, one.source, one.source_uri)
    return same == (other.payload, other.source, other.source_uri)
