"""What cosines of unrelated pairs look like in a collection, so that a hit's score can be judged.

A cosine says little by itself: 0.25 is high between a text and a picture, and low between two pictures.
So each score is placed among those of pairs that have nothing to do with each other: everyday texts with
sampled points, for text queries; sampled points with one another, for queries by picture or id.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.resources
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from cachetools import LRUCache

from clipserve_gateway.collection_embed import CollectionEmbedder
from clipserve_gateway.collection_spec import CollectionSpec
from clipserve_gateway.deadline import Deadline
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Engine
from clipserve_gateway.lanes import Lane, in_lane
from clipserve_gateway.types import Floats

log = logging.getLogger(__name__)

QueryKind = Literal["text", "image"]
KINDS: tuple[QueryKind, ...] = ("text", "image")

SAMPLED_POINTS = 512
FEWEST_POINTS = 20
"""Of fewer points no percentile is told."""
RENEW_SECONDS = 30.0
GROWTH = 0.1
"""Share of points come or gone from which statistics are made anew."""
EMBED_SECONDS = 60.0
COLLECTIONS = 64
"""Collections whose statistics are kept in memory: about 3 MB each."""


@dataclass(frozen=True)
class ScoreBackground:
    """Cosines of unrelated pairs: sorted float32 [pairs]."""

    query: QueryKind
    cosines: Floats

    def percentile(self, score: float) -> float:
        """Share of unrelated pairs with a lower cosine, 0…100."""
        return 100.0 * float(np.searchsorted(self.cosines, np.float32(score))) / len(self.cosines)

    def quantile(self, share: float) -> float:
        """The cosine below which this share (0…1) of the pairs lies."""
        return float(self.cosines[min(len(self.cosines) - 1, int(share * len(self.cosines)))])


@dataclass(frozen=True)
class _Entry:
    """Statistics of a table when it had so many points; None of too few."""

    points: int
    since: float
    backgrounds: dict[QueryKind, ScoreBackground]


class Statistics:
    """Score statistics of collections: made in the background when asked for, and kept in memory."""

    def __init__(self, engine: Engine, embedder: CollectionEmbedder) -> None:
        self._engine = engine
        self._embedder = embedder
        self._entries: LRUCache[str, _Entry] = LRUCache(COLLECTIONS)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def get(self, spec: CollectionSpec, kind: QueryKind) -> ScoreBackground | None:
        """The statistics at hand, if any; those that are missing or old are made for the next caller."""
        entry = self._entries.get(spec.serving.table)
        if entry is None or time.monotonic() - entry.since > RENEW_SECONDS:
            self._renew(spec)
        return entry.backgrounds.get(kind) if entry is not None else None

    async def all(self, spec: CollectionSpec) -> list[ScoreBackground]:
        """The statistics at hand, by kind of query."""
        return [found for kind in KINDS if (found := self.get(spec, kind)) is not None]

    def _renew(self, spec: CollectionSpec) -> None:
        table = spec.serving.table
        if table not in self._tasks:
            task = asyncio.create_task(self._make(spec), name=f"score statistics of {spec.name}")
            self._tasks[table] = task
            task.add_done_callback(lambda _: self._tasks.pop(table, None))

    async def _make(self, spec: CollectionSpec) -> None:
        table = spec.serving.table
        entry = self._entries.get(table)
        try:
            points = await self._engine.count(spec.table)
            if entry is not None and abs(points - entry.points) <= GROWTH * entry.points:
                self._entries[table] = _Entry(entry.points, time.monotonic(), entry.backgrounds)
                return
            found = await self._measure(spec) if points >= FEWEST_POINTS else {}
            self._entries[table] = _Entry(points, time.monotonic(), found)
        except ClipserveError as error:
            # The next search tries again; hits have no percentile until then.
            log.info("no score statistics of %s: %s", spec.name, error.logged)

    async def _measure(self, spec: CollectionSpec) -> dict[QueryKind, ScoreBackground]:
        sample = await self._engine.sample(spec.table, SAMPLED_POINTS)
        deadline = Deadline.after(EMBED_SECONDS)
        with in_lane(Lane.BULK):
            items = await self._embedder.embed(spec.name, spec.serving, everyday_texts(), deadline)
        texts = [item.embedding for item in items if item.embedding is not None]
        if not texts or len(sample) < FEWEST_POINTS:
            return {}
        return await asyncio.to_thread(backgrounds, sample, np.stack(texts))

    async def close(self) -> None:
        """Ends what is under way."""
        tasks: Sequence[asyncio.Task[None]] = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def backgrounds(sample: Floats, texts: Floats) -> dict[QueryKind, ScoreBackground]:
    """Statistics of sampled points (float32 [N, D]) and everyday texts (float32 [T, D]), all normalized."""
    pairs = (sample @ sample.T)[~np.eye(len(sample), dtype=bool)]
    return {
        "text": ScoreBackground("text", np.sort((texts @ sample.T).reshape(-1))),
        "image": ScoreBackground("image", np.sort(pairs)),
    }


@functools.cache
def everyday_texts() -> tuple[str, ...]:
    """A few hundred things people look for, of all kinds."""
    words = importlib.resources.files("clipserve_gateway").joinpath("data/everyday.txt").read_text("utf-8")
    return tuple(f"a photo of {line.strip()}" for line in words.splitlines() if line.strip())
