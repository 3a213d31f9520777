"""What cosines of unrelated pairs look like in a collection, so that a hit's score can be judged.

A cosine says little by itself: 0.25 is high between a text and a picture, and low between two pictures.
So each score is placed among those of pairs that have nothing to do with each other: everyday texts with
sampled points, for text queries; sampled points with one another, for queries by picture or id.

Texts that the model was not taught have high cosines too, with the same few points. So a text query is not
judged by its cosine itself but by how far that stands out from the query's mean cosine, times how far the
query is from nonsense (ReferenceTexts.meaning). A query by picture is judged by its cosine.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from cachetools import LRUCache

from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.reference_texts import ReferenceTextCache, ReferenceTexts
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.index.base import Engine
from clipserve_gateway.inference.text_store import TextStore
from clipserve_gateway.types import Floats

log = logging.getLogger(__name__)

QueryKind = Literal["text", "image"]
KINDS: tuple[QueryKind, ...] = ("text", "image")

SAMPLED_POINTS = 512
FEWEST_POINTS = 20
"""Of fewer points no percentile is told."""
RENEW_SECONDS = 30.0
RENEW_SECONDS_FEW = 0.5
"""The same for a collection that had too few points: its first ones may just have come."""
GROWTH = 0.1
"""Share of points come or gone from which statistics are made anew."""
EMBED_SECONDS = 60.0
WAIT_SECONDS = 15.0
"""A collection's first searches wait so long for its statistics, at most, and half their time."""
COLLECTIONS = 64
"""Collections whose statistics are kept in memory: about 3 MB each."""
GOOD_PERCENTILE = 95.0
"""Where no hit has this percentile, nothing matches the query well."""


@dataclass(frozen=True)
class Judge:
    """Places the scores of one query among those of unrelated pairs."""

    mean: float
    """Of the query's cosines with the sampled points; 0 where cosines are compared as they are."""
    weight: float
    """0 … 1, what the differences from the mean are multiplied by."""
    unrelated: Floats
    """The same of unrelated pairs, sorted float32 [pairs]."""

    def percentile(self, score: float) -> float:
        """Share of unrelated pairs that stand out less, 0…100."""
        standing = np.float32((score - self.mean) * self.weight)
        return 100.0 * float(np.searchsorted(self.unrelated, standing)) / len(self.unrelated)


@dataclass(frozen=True)
class ScoreBackground:
    """Cosines of unrelated pairs: sorted float32 [pairs]."""

    query: QueryKind
    cosines: Floats
    standing: Floats
    """How far they stand out (see above), sorted float32 [pairs]."""
    sample_mean: Floats
    """Mean of the sampled points' embeddings, float32 [D]."""
    texts: ReferenceTexts | None
    """For text queries."""

    def judge(self, query: Floats) -> Judge:
        """For the scores of a query, normalized float32 [D]."""
        if self.texts is None:
            return Judge(0.0, 1.0, self.standing)
        return Judge(
            float(query @ self.sample_mean), float(self.texts.meaning(query[None])[0]), self.standing
        )

    def quantile(self, share: float) -> float:
        """The cosine below which this share (0…1) of the pairs lies."""
        return float(self.cosines[min(len(self.cosines) - 1, int(share * len(self.cosines)))])


@dataclass(frozen=True)
class _Entry:
    """Statistics of a table when it had so many points; None of too few."""

    points: int
    since: float
    backgrounds: dict[QueryKind, ScoreBackground]

    @property
    def old(self) -> bool:
        """Whether it is time to look whether they still hold."""
        lasts = RENEW_SECONDS if self.backgrounds else RENEW_SECONDS_FEW
        return time.monotonic() - self.since > lasts


class Statistics:
    """Score statistics of collections: made in the background when asked for, and kept in memory."""

    def __init__(self, engine: Engine, embedder: CollectionEmbedder, texts: TextStore) -> None:
        self._engine = engine
        self._texts = ReferenceTextCache(embedder, texts)
        self._entries: LRUCache[str, _Entry] = LRUCache(COLLECTIONS)
        self._slow: LRUCache[str, None] = LRUCache(COLLECTIONS)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def get(self, spec: CollectionSpec, kind: QueryKind) -> ScoreBackground | None:
        """The statistics at hand, if any; those that are missing or old are made for the next caller."""
        entry = self._entries.get(spec.serving.table)
        if entry is None or entry.old:
            self._renew(spec)
        return entry.backgrounds.get(kind) if entry is not None else None

    async def soon(self, spec: CollectionSpec, kind: QueryKind, deadline: Deadline) -> ScoreBackground | None:
        """The statistics, as `get` gives them; waits a while for the first ones of a collection."""
        table = spec.serving.table
        found, task = self.get(spec, kind), self._tasks.get(table)
        if found is not None or task is None or table in self._slow:
            return found
        await asyncio.wait({task}, timeout=max(0.0, min(WAIT_SECONDS, deadline.remaining() / 2)))
        entry = self._entries.get(table)
        if entry is None:
            # Not made in time, or not at all: later searches go on without.
            self._slow[table] = None
            return None
        return entry.backgrounds.get(kind)

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
            alike = entry is not None and bool(entry.backgrounds) == (points >= FEWEST_POINTS)
            if entry is not None and alike and abs(points - entry.points) <= GROWTH * entry.points:
                self._entries[table] = _Entry(entry.points, time.monotonic(), entry.backgrounds)
                return
            found = await self._measure(spec) if points >= FEWEST_POINTS else {}
            self._entries[table] = _Entry(points, time.monotonic(), found)
        except ClipserveError as error:
            # The next search tries again; hits have no percentile until then.
            log.info("no score statistics of %s: %s", spec.name, error.logged)

    async def _measure(self, spec: CollectionSpec) -> dict[QueryKind, ScoreBackground]:
        sample = await self._engine.sample(spec.table, SAMPLED_POINTS)
        with in_lane(Lane.BULK):
            texts = await self._texts.get(spec.name, spec.serving, Deadline.after(EMBED_SECONDS))
        if len(sample) < FEWEST_POINTS:
            return {}
        return await asyncio.to_thread(backgrounds, sample, texts)

    async def close(self) -> None:
        """Ends what is under way."""
        tasks: Sequence[asyncio.Task[None]] = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def backgrounds(sample: Floats, texts: ReferenceTexts) -> dict[QueryKind, ScoreBackground]:
    """Statistics of sampled points, normalized float32 [N, D]."""
    center = sample.mean(axis=0)
    pairs = np.sort((sample @ sample.T)[~np.eye(len(sample), dtype=bool)])
    cosines = texts.everyday @ sample.T
    standing = (cosines - cosines.mean(axis=1, keepdims=True)) * texts.meaning(texts.everyday)[:, None]
    return {
        "text": ScoreBackground("text", sorted_all(cosines), sorted_all(standing), center, texts),
        "image": ScoreBackground("image", pairs, pairs, center, None),
    }


def sorted_all(values: Floats) -> Floats:
    """All numbers of an array, sorted."""
    return np.sort(values.reshape(-1))
