"""Embeddings that lie as CLIP's do, made of nothing but a seed.

CLIP's embeddings of pictures share much of their direction (unrelated ones have a cosine of about 0.5), are
crowded around what there is to see, lie apart from those of texts, and vary along few of their dimensions
much and along most of them little. So a point is made of a direction that all have, one that its crowd has
and one of its own, both from a space with a falling spectrum, and a little noise; a text has another common
direction and a weaker share of its crowd's. Uniform random vectors would be no test: in them nothing is
near to anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from clipserve_gateway.index.values import Eq, Filter, PayloadType, Point
from clipserve_gateway.types import Floats

BLOCK = 10_000
CROWDS = 2_000
LATENT = 128
"""Dimensions that points vary along; the n-th by a share of 1 / √n."""
COMMON, CROWD, OWN, NOISE = 1.0, 0.8, 0.6, 0.1
TEXT_COMMON, TEXT_CROWD, TEXT_OWN = 1.0, 0.5, 0.4
SCHEMA = {"tenth": PayloadType.STRING, "hundredth": PayloadType.STRING, "year": PayloadType.INT}
FILTERS: dict[str, tuple[Filter, int]] = {
    "10 %": (Eq("tenth", "t3"), 10),
    "1 %": (Eq("hundredth", "h3"), 100),
}
"""Filters, and every how many-th point they let through."""


@dataclass(frozen=True)
class World:
    """All points of one dimension."""

    dim: int
    seed: int = 7

    def _noise(self, rng: np.random.Generator, count: int) -> Floats:
        """Vectors of about length 1, of all directions alike."""
        return rng.standard_normal((count, self.dim), np.float32) / np.float32(np.sqrt(self.dim))

    def _varied(self, rng: np.random.Generator, count: int) -> Floats:
        """Vectors of about length 1, of the directions that points vary along."""
        axes = self._noise(np.random.default_rng((self.seed, 1)), LATENT)
        shares = 1 / np.sqrt(np.arange(1, LATENT + 1, dtype=np.float32))
        shares /= np.linalg.norm(shares)
        return (rng.standard_normal((count, LATENT), np.float32) * shares) @ axes

    def _crowds(self) -> tuple[Floats, Floats, Floats]:
        rng = np.random.default_rng(self.seed)
        return self._varied(rng, CROWDS), self._noise(rng, 1), self._noise(rng, 1)

    def _pictures(self, rng: np.random.Generator, count: int) -> Floats:
        crowds, common, _ = self._crowds()
        mine = crowds[rng.integers(0, CROWDS, count)]
        own = OWN * self._varied(rng, count) + NOISE * self._noise(rng, count)
        return normalized(COMMON * common + CROWD * mine + own)

    def block(self, number: int, rows: int = BLOCK) -> Floats:
        """Embeddings of a block of points: float32 [rows, dim], normalized."""
        return self._pictures(np.random.default_rng((self.seed, 2, number)), rows)

    def blocks(self, points: int) -> Iterator[tuple[int, Floats]]:
        """The first so many points, a block at a time, with the number of the first in each."""
        for first in range(0, points, BLOCK):
            yield first, self.block(first // BLOCK, min(BLOCK, points - first))

    def queries(self, kind: str, count: int) -> Floats:
        """Queries by `picture` (like the points, but none of them) or by `text`: float32 [count, dim]."""
        rng = np.random.default_rng((self.seed, 3, len(kind)))
        if kind == "picture":
            return self._pictures(rng, count)
        crowds, _, text = self._crowds()
        mine = crowds[rng.integers(0, CROWDS, count)]
        own = TEXT_OWN * self._varied(rng, count) + NOISE * self._noise(rng, count)
        return normalized(TEXT_COMMON * text + TEXT_CROWD * mine + own)


def normalized(rows: Floats) -> Floats:
    """Rows of length 1."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def point(number: int, embedding: Floats) -> Point:
    """The point of that number."""
    payload = {"tenth": f"t{number % 10}", "hundredth": f"h{number % 100}", "year": 1900 + number % 125}
    return Point(name(number), payload, embedding)


def name(number: int) -> str:
    """The id of the point of that number."""
    return f"p{number:08d}"


def nearest(world: World, points: int, queries: Floats, k: int, every: int = 1) -> list[set[str]]:
    """The ids of the k nearest among every so many-th point (those numbered 3, 3 + every, …), exactly."""
    scores = np.full((len(queries), k), -2, np.float32)
    numbers = np.zeros((len(queries), k), np.int64)
    for first, rows in world.blocks(points):
        chosen = np.arange(first, first + len(rows))
        if every > 1:
            mask = chosen % every == 3
            chosen, rows = chosen[mask], rows[mask]
        all_scores = np.concatenate([scores, queries @ rows.T], axis=1)
        all_numbers = np.concatenate([numbers, np.tile(chosen, (len(queries), 1))], axis=1)
        best = np.argpartition(-all_scores, min(k, all_scores.shape[1] - 1), axis=1)[:, :k]
        scores = np.take_along_axis(all_scores, best, axis=1)
        numbers = np.take_along_axis(all_numbers, best, axis=1)
    return [
        {name(int(number)) for number, score in zip(row, row_scores, strict=True) if score > -2}
        for row, row_scores in zip(numbers, scores, strict=True)
    ]
