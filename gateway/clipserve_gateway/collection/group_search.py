"""Finds the best groups of near-duplicates: reads the nearest points in pages until there are enough groups.

The points of other groups can come far behind a mass of almost equal points. So the pages grow, and each page
continues below the scores of the page before. It reads about 33,000 points at most.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.collection.duplicates import Group, Grouping
from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.values import Filter, Hit, Payload, TableSpec
from clipserve_gateway.types import Floats

MAX_PAGE = 4_096
"""Hits per page: a few MiB of embeddings."""
PAGES = 10
FIRST, GROWTH = 4, 16
"""The size of the first page per wanted hit, and the growth of each following page."""
IDS_PER_FETCH = 1_024


@dataclass(frozen=True)
class GroupResult:
    """Groups, best first; `incomplete` if points that could form other groups were not read."""

    groups: list[Group]
    incomplete: bool = False


@dataclass(frozen=True)
class Candidates:
    """The points of a table that match a filter, by their score for an embedding; without payloads."""

    engine: Engine
    table: TableSpec
    embedding: Floats
    filter: Filter | None
    consistent: bool

    async def hits(self, top_k: int, below: float | None) -> list[Hit]:
        """The nearest points with their embeddings; if `below` is set, only those with a lower score."""
        return await self.engine.search(
            self.table,
            self.embedding,
            top_k=top_k,
            filter=self.filter,
            with_payload=False,
            with_embeddings=True,
            # Cosines can be slightly above 1.
            below=None if below is None or below > 1 else below,
            consistent=self.consistent,
        )

    async def count(self) -> int:
        """Number of points."""
        return await self.engine.count(self.table, self.filter)


async def find_groups(
    candidates: Candidates,
    threshold: float,
    top_k: int,
    *,
    without: Collection[str] = (),
    lowest: float | None = None,
) -> GroupResult:
    """The best groups.

    Args:
        without: ids to leave out.
        lowest: stop reading below this score.
    """
    grouping = Grouping(threshold, top_k)
    size, below, skipped = min(FIRST * (top_k + len(without)), MAX_PAGE), None, False
    seen = 0
    for _ in range(PAGES):
        hits = await candidates.hits(size, below)
        last = hits[-1].score if hits else -1.0
        all_read = False
        if len(hits) < size:
            # A search of a graph index may not reach all of many equal points.
            all_read = seen + len(hits) >= await candidates.count()
            below, skipped = last, skipped or not all_read
        else:
            better = [hit for hit in hits if hit.score > last]
            if better:
                # Other points may have the last score: the next page begins just above it, in float32.
                hits, below = better, float(np.nextafter(np.float32(last), np.float32(math.inf)))
            elif size < MAX_PAGE:
                size = MAX_PAGE
                continue
            else:
                below, skipped = last, True
        seen += len(hits)
        await add(grouping, [hit for hit in hits if hit.id not in without])
        enough = grouping.full or (lowest is not None and last < lowest)
        if all_read or enough or not hits or (below is not None and below <= -1):
            return GroupResult(grouping.groups, skipped)
        size = min(GROWTH * size, MAX_PAGE)
    return GroupResult(grouping.groups, incomplete=True)


async def add(grouping: Grouping, hits: Sequence[Hit]) -> None:
    """Adds hits to the grouping, which keeps them without their embeddings."""
    vectors = [hit.embedding for hit in hits if hit.embedding is not None]
    if vectors:
        bare = [dataclasses.replace(hit, embedding=None) for hit in hits]
        await asyncio.to_thread(grouping.add, bare, np.stack(vectors))


async def with_payloads(engine: Engine, table: TableSpec, groups: Sequence[Group]) -> list[Group]:
    """The groups with their payloads, without points that were deleted in the meantime."""
    ids = [hit.id for group in groups for hit in (group.hit, *group.duplicates)]
    payloads: dict[str, Payload] = {}
    for first in range(0, len(ids), IDS_PER_FETCH):
        points = await engine.fetch(table, ids[first : first + IDS_PER_FETCH])
        payloads |= {point.id: point.payload for point in points}
    complete = []
    for group in groups:
        members = [
            dataclasses.replace(hit, payload=payloads[hit.id])
            for hit in (group.hit, *group.duplicates)
            if hit.id in payloads
        ]
        if members:
            complete.append(Group(members[0], tuple(members[1:])))
    return complete
