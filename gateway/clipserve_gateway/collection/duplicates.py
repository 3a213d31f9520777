"""Puts near-duplicates among hits together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.index.values import Hit
from clipserve_gateway.types import Floats

MOST_DUPLICATES = 100
"""Kept with one hit; more are left out."""
ROUNDING = 1e-6
"""What float32 may lose: equal embeddings have cosines a little below 1."""


@dataclass(frozen=True)
class Group:
    """A hit and the near-duplicates that were left out for it, best first."""

    hit: Hit
    duplicates: tuple[Hit, ...] = ()


class Grouping:
    """Hits (best first, added in parts) in up to `limit` groups, best first.

    A hit joins the first group whose best hit is as near to it as the threshold. Being near to the best
    one, not to just any member, keeps a chain of small differences from joining what is not alike.
    """

    def __init__(self, threshold: float, limit: int) -> None:
        self._threshold = threshold - ROUNDING
        self._limit = limit
        self._leaders: Floats = np.empty((0, 0), np.float32)
        self._groups: list[tuple[Hit, list[Hit]]] = []

    @property
    def full(self) -> bool:
        """Whether there are as many groups as wanted."""
        return len(self._groups) >= self._limit

    def add(self, hits: Sequence[Hit], vectors: Floats) -> None:
        """Adds the next hits; `vectors` are normalized float32 [len(hits), D]."""
        if not hits:
            return
        old = len(self._groups)
        most = min(self._limit, old + len(hits))
        leaders = np.empty((most, vectors.shape[1]), np.float32)
        leaders[:old] = self._leaders[:old] if old else 0
        self._leaders = leaders
        near = vectors @ leaders[:old].T >= self._threshold
        joins = near.any(axis=1).tolist()
        first = near.argmax(axis=1).tolist() if old else [0] * len(hits)
        for i, hit in enumerate(hits):
            if joins[i]:
                self._join(first[i], hit)
                continue
            new = leaders[old : len(self._groups)] @ vectors[i] >= self._threshold
            if new.any():
                self._join(old + int(new.argmax()), hit)
            elif not self.full:
                leaders[len(self._groups)] = vectors[i]
                self._groups.append((hit, []))

    def _join(self, group: int, hit: Hit) -> None:
        duplicates = self._groups[group][1]
        if len(duplicates) < MOST_DUPLICATES:
            duplicates.append(hit)

    @property
    def groups(self) -> list[Group]:
        """The groups so far."""
        return [Group(hit, tuple(duplicates)) for hit, duplicates in self._groups]
