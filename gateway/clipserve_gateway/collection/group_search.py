"""Finds the nearest groups of near-duplicates: looks at the nearest points part by part, as far as needed.

Near a mass of equal or almost equal points, the points of other groups come far behind. So the parts grow,
and each goes on below the scores of the one before. Some 33,000 points are looked at, at most.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clipserve_gateway.collection.duplicates import Group, Grouping
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Hit, Payload, TableSpec
from clipserve_gateway.types import Floats

MOST_HITS = 4_096
"""Looked at together: a few MiB of embeddings."""
PAGES = 10
FIRST, GROWTH = 4, 16
"""The first part, in hits wanted, and how much larger the next one is."""
IDS_AT_ONCE = 1_024


class Candidates(Protocol):
    """The points of a table by their score, without payloads."""

    async def hits(self, top_k: int, below: float | None) -> list[Hit]:
        """The nearest with their embeddings; with `below`, of those with a lower score."""
        ...

    async def count(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class Found:
    """Groups, best first; `incomplete` where points were not looked at that could make others."""

    groups: list[Group]
    incomplete: bool = False


async def find_groups(
    candidates: Candidates,
    threshold: float,
    top_k: int,
    *,
    without: Collection[str] = (),
    lowest: float | None = None,
) -> Found:
    """The nearest groups.

    Args:
        without: ids that are no hits.
        lowest: lower scores are not wanted, so that points below need not be looked at.
    """
    grouping = Grouping(threshold, top_k)
    size, below, skipped = min(FIRST * (top_k + len(without)), MOST_HITS), None, False
    seen = 0
    for _ in range(PAGES):
        hits = await candidates.hits(size, below)
        last = hits[-1].score if hits else -1.0
        whole = False
        if len(hits) < size:
            # Among equal points, graphs that are searched may find no way to the others.
            whole = seen + len(hits) >= await candidates.count()
            below, skipped = last, skipped or not whole
        else:
            better = [hit for hit in hits if hit.score > last]
            if better:
                # Others with the last score may follow: the next part begins with all of them.
                hits, below = better, just_above(last)
            elif size < MOST_HITS:
                size = MOST_HITS
                continue
            else:
                below, skipped = last, True
        seen += len(hits)
        await add(grouping, [hit for hit in hits if hit.id not in without])
        enough = grouping.full or (lowest is not None and last < lowest)
        if whole or enough or not hits or (below is not None and below <= -1):
            return Found(grouping.groups, skipped)
        size = min(GROWTH * size, MOST_HITS)
    return Found(grouping.groups, True)


def just_above(score: float) -> float:
    """The next larger float32, which is what engines compare."""
    return float(np.nextafter(np.float32(score), np.float32(math.inf)))


async def add(grouping: Grouping, hits: Sequence[Hit]) -> None:
    """Adds hits, which keep their embeddings no longer than that takes."""
    vectors = [hit.embedding for hit in hits if hit.embedding is not None]
    if vectors:
        bare = [dataclasses.replace(hit, embedding=None) for hit in hits]
        await asyncio.to_thread(grouping.add, bare, np.stack(vectors))


async def with_payloads(engine: Engine, table: TableSpec, groups: Sequence[Group]) -> list[Group]:
    """The groups with their payloads, without points that are gone since they were found."""
    ids = [hit.id for group in groups for hit in (group.hit, *group.duplicates)]
    payloads: dict[str, Payload] = {}
    for first in range(0, len(ids), IDS_AT_ONCE):
        points = await engine.fetch(table, ids[first : first + IDS_AT_ONCE])
        payloads |= {point.id: point.payload for point in points}
    found = []
    for group in groups:
        members = [
            dataclasses.replace(hit, payload=payloads[hit.id])
            for hit in (group.hit, *group.duplicates)
            if hit.id in payloads
        ]
        if members:
            found.append(Group(members[0], tuple(members[1:])))
    return found


@dataclass(frozen=True)
class Nearest:
    """The candidates in a table."""

    engine: Engine
    table: TableSpec
    embedding: Floats
    filter: Filter | None
    consistent: bool

    async def hits(self, top_k: int, below: float | None) -> list[Hit]:
        """See Candidates."""
        return await self.engine.search(
            self.table,
            self.embedding,
            top_k=top_k,
            filter=self.filter,
            with_payload=False,
            with_embeddings=True,
            # Engines may find cosines a hair above 1.
            below=None if below is None or below > 1 else below,
            consistent=self.consistent,
        )

    async def count(self) -> int:
        """See Candidates."""
        return await self.engine.count(self.table, self.filter)
