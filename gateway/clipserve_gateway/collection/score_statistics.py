"""Cosines of unrelated pairs in a collection, which turn a hit's score into a percentile.

A cosine says little by itself: 0.25 is high between a text and an image, and low between two images. So the
percentile compares each score with those of unrelated pairs: everyday texts with sampled points for text
queries; sampled points with each other for queries by image or id.

Texts that the model was not trained on also have high cosines, with the same few points. So for a text query
the percentile compares contrasts: the difference of a cosine from the query's mean cosine, times the query's
distance from nonsense (ReferenceTexts.meaning). For a query by image the contrast is the cosine.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from cachetools import LRUCache

from clipserve_gateway.collection.background import BackgroundTasks
from clipserve_gateway.collection.embedding import CollectionEmbedder
from clipserve_gateway.collection.reference_texts import ReferenceTexts, reference_texts
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.flow.lanes import Lane, in_lane
from clipserve_gateway.index.base import Engine
from clipserve_gateway.inference.embedding_rows import rows_of
from clipserve_gateway.inference.text_store import TextEmbeddings, TextStore
from clipserve_gateway.types import Floats

log = logging.getLogger(__name__)

QueryKind = Literal["text", "image"]
KINDS: tuple[QueryKind, ...] = ("text", "image")

SAMPLED_POINTS = 512
MIN_POINTS = 20
"""Collections with fewer points have no percentiles."""
RENEW_SECONDS = 30.0
"""Age from which statistics are checked again."""
RENEW_SECONDS_FEW = 0.5
"""The same for a collection with too few points, which may be growing right now."""
GROWTH = 0.1
"""Relative change of the number of points from which statistics are computed again."""
EMBED_SECONDS = 60.0
WAIT_SECONDS = 15.0
"""A collection's first searches wait for its statistics at most this long, and at most half their time."""
MAX_COLLECTIONS = 64
"""Collections whose statistics are kept in memory: about 3 MB each."""
GOOD_PERCENTILE = 95.0
"""If no hit reaches this percentile, the search is a weak match."""


@dataclass(frozen=True)
class ScoreScale:
    """Turns the scores of one query into percentiles."""

    mean: float
    """Mean cosine of the query with the sampled points; 0 for queries by image."""
    weight: float
    """Factor on differences from the mean, 0…1."""
    unrelated: Floats
    """Contrasts of unrelated pairs, sorted float32 [pairs]."""

    def percentile(self, score: float) -> float:
        """Share of unrelated pairs with a lower contrast, 0…100."""
        contrast = np.float32((score - self.mean) * self.weight)
        return 100.0 * float(np.searchsorted(self.unrelated, contrast)) / len(self.unrelated)


@dataclass(frozen=True)
class ScoreBackground:
    """Cosines of unrelated pairs: sorted float32 [pairs]."""

    query: QueryKind
    cosines: Floats
    contrasts: Floats
    """See above; sorted float32 [pairs]."""
    sample_mean: Floats
    """Mean of the sampled points' embeddings, float32 [D]."""
    texts: ReferenceTexts | None
    """None for queries by image."""

    def scale(self, query: Floats) -> ScoreScale:
        """The scale for a query, normalized float32 [D]."""
        if self.texts is None:
            return ScoreScale(0.0, 1.0, self.contrasts)
        mean, weight = float(query @ self.sample_mean), float(self.texts.meaning(query[None])[0])
        return ScoreScale(mean, weight, self.contrasts)

    def quantile(self, share: float) -> float:
        """The cosine that this share (0…1) of the pairs lies below."""
        return float(self.cosines[min(len(self.cosines) - 1, int(share * len(self.cosines)))])


@dataclass(frozen=True)
class _Entry:
    """Statistics of a table when it had `points` points; empty if these were too few."""

    points: int
    checked_at: float
    backgrounds: dict[QueryKind, ScoreBackground]

    @property
    def stale(self) -> bool:
        """Whether the statistics must be checked again."""
        lifetime = RENEW_SECONDS if self.backgrounds else RENEW_SECONDS_FEW
        return time.monotonic() - self.checked_at > lifetime


class Statistics:
    """Score statistics of collections: computed in the background on demand, and kept in memory."""

    def __init__(self, engine: Engine, embedder: CollectionEmbedder, texts: TextStore) -> None:
        self._engine = engine
        self._embedder = embedder
        self._texts = reference_texts(texts)
        self._entries: LRUCache[str, _Entry] = LRUCache(MAX_COLLECTIONS)
        self._slow: LRUCache[str, None] = LRUCache(MAX_COLLECTIONS)
        self._tasks = BackgroundTasks()

    def get(self, spec: CollectionSpec, kind: QueryKind) -> ScoreBackground | None:
        """The known statistics, if any. Renews missing or stale ones in the background, for later calls."""
        table = spec.serving.table
        entry = self._entries.get(table)
        if entry is None or entry.stale:
            self._tasks.start(table, f"score statistics of {spec.name}", lambda: self._renew(spec))
        return entry.backgrounds.get(kind) if entry is not None else None

    async def wait_for(
        self, spec: CollectionSpec, kind: QueryKind, deadline: Deadline
    ) -> ScoreBackground | None:
        """The statistics as by `get`; waits up to WAIT_SECONDS for the first ones of a collection."""
        table = spec.serving.table
        background, task = self.get(spec, kind), self._tasks.running.get(table)
        if background is not None or task is None or table in self._slow:
            return background
        await asyncio.wait({task}, timeout=max(0.0, min(WAIT_SECONDS, deadline.remaining() / 2)))
        entry = self._entries.get(table)
        if entry is None:
            # Too slow, or failed: later searches do not wait.
            self._slow[table] = None
            return None
        return entry.backgrounds.get(kind)

    async def all(self, spec: CollectionSpec) -> list[ScoreBackground]:
        """The known statistics of all kinds of queries, as by `get`."""
        return [background for kind in KINDS if (background := self.get(spec, kind)) is not None]

    async def _renew(self, spec: CollectionSpec) -> None:
        table = spec.serving.table
        entry = self._entries.get(table)
        try:
            points = await self._engine.count(spec.table)
            same_size = entry is not None and bool(entry.backgrounds) == (points >= MIN_POINTS)
            if entry is not None and same_size and abs(points - entry.points) <= GROWTH * entry.points:
                self._entries[table] = replace(entry, checked_at=time.monotonic())
                return
            measured = await self._measure(spec) if points >= MIN_POINTS else {}
            self._entries[table] = _Entry(points, time.monotonic(), measured)
        except ClipserveError as error:
            # The next search tries again; until then hits have no percentile.
            log.info("score statistics of collection %s failed: %s", spec.name, error.logged)

    async def _measure(self, spec: CollectionSpec) -> dict[QueryKind, ScoreBackground]:
        sample = await self._engine.sample(spec.table, SAMPLED_POINTS)
        deadline = Deadline.after(EMBED_SECONDS)
        embed = functools.partial(self._embed, spec)
        with in_lane(Lane.BULK):
            texts = await self._texts.get(spec.fingerprint, spec.dim, lambda: deadline, embed)
        return await asyncio.to_thread(backgrounds, sample, texts) if len(sample) >= MIN_POINTS else {}

    async def _embed(self, spec: CollectionSpec, texts: Sequence[str], deadline: Deadline) -> TextEmbeddings:
        items = await self._embedder.embed(spec.name, spec.serving, texts, deadline)
        return TextEmbeddings(rows_of(items), sum(item.truncated for item in items))

    async def close(self) -> None:
        """Cancels running renewals."""
        await self._tasks.close()


def backgrounds(sample: Floats, texts: ReferenceTexts) -> dict[QueryKind, ScoreBackground]:
    """Statistics of sampled points, normalized float32 [N, D], by kind of query."""
    center = sample.mean(axis=0)
    pairs = np.sort((sample @ sample.T)[~np.eye(len(sample), dtype=bool)])
    cosines = texts.everyday @ sample.T
    contrasts = (cosines - cosines.mean(axis=1, keepdims=True)) * texts.meaning(texts.everyday)[:, None]
    return {
        "text": ScoreBackground("text", sorted_all(cosines), sorted_all(contrasts), center, texts),
        "image": ScoreBackground("image", pairs, pairs, center, None),
    }


def sorted_all(values: Floats) -> Floats:
    """All numbers of an array, sorted."""
    return np.sort(values.reshape(-1))
