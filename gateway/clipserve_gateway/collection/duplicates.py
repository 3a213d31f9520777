"""Groups near-duplicates among hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.index.values import Hit
from clipserve_gateway.types import Floats

MAX_DUPLICATES = 100
"""Duplicates kept per hit; more are dropped."""
ROUNDING = 1e-6
"""float32 rounding error: cosines of equal embeddings can be this much below 1."""


@dataclass(frozen=True)
class Group:
    """A hit and its near-duplicates, which are not hits of their own; best first."""

    hit: Hit
    duplicates: tuple[Hit, ...] = ()


class Grouping:
    """Groups hits, which are added best first, in batches; up to `limit` groups.

    A hit joins the first group whose best hit has a cosine of at least the threshold with it. Comparing with
    the best hit only, not with any member, keeps a chain of small differences from joining unlike images.
    """

    def __init__(self, threshold: float, limit: int) -> None:
        self._threshold = threshold - ROUNDING
        self._limit = limit
        self._leaders: Floats = np.empty((0, 0), np.float32)
        self._groups: list[tuple[Hit, list[Hit]]] = []

    @property
    def full(self) -> bool:
        """Whether there are `limit` groups."""
        return len(self._groups) >= self._limit

    def add(self, hits: Sequence[Hit], vectors: Floats) -> None:
        """Adds the next hits; `vectors` are normalized float32 [len(hits), D]."""
        if not hits:
            return
        old = len(self._groups)
        max_groups = min(self._limit, old + len(hits))
        leaders = np.empty((max_groups, vectors.shape[1]), np.float32)
        leaders[:old] = self._leaders[:old] if old else 0
        self._leaders = leaders
        near = vectors @ leaders[:old].T >= self._threshold
        joins = np.atleast_1d(near.any(axis=1)).tolist()
        first = near.argmax(axis=1).tolist() if old else [0] * len(hits)
        for i, hit in enumerate(hits):
            if joins[i]:
                self._join(first[i], hit)
                continue
            near_new = leaders[old : len(self._groups)] @ vectors[i] >= self._threshold
            if near_new.any():
                self._join(old + int(near_new.argmax()), hit)
            elif not self.full:
                leaders[len(self._groups)] = vectors[i]
                self._groups.append((hit, []))

    def _join(self, group: int, hit: Hit) -> None:
        duplicates = self._groups[group][1]
        if len(duplicates) < MAX_DUPLICATES:
            duplicates.append(hit)

    @property
    def groups(self) -> list[Group]:
        """The groups so far, best first."""
        return [Group(hit, tuple(duplicates)) for hit, duplicates in self._groups]
