"""Puts near-duplicates among hits together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clipserve_gateway.types import Floats, Hit

MOST_DUPLICATES = 100
"""Kept with one hit; more are left out."""


@dataclass(frozen=True)
class Group:
    """A hit and the near-duplicates that were left out for it, best first."""

    hit: Hit
    duplicates: tuple[Hit, ...] = ()


def grouped(hits: Sequence[Hit], vectors: Mapping[str, Floats], threshold: float, limit: int) -> list[Group]:
    """Hits (best first) in up to `limit` groups, best first; `vectors` are normalized float32 [D], by id.

    A hit joins the first group whose best hit is as near to it as the threshold. Being near to the best
    one, not to just any member, keeps a chain of small differences from joining what is not alike.
    """
    if not hits:
        return []
    matrix = np.stack([vectors[hit.id] for hit in hits])
    leaders = np.empty((min(limit, len(hits)), matrix.shape[1]), np.float32)
    groups: list[tuple[Hit, list[Hit]]] = []
    for hit, vector in zip(hits, matrix, strict=True):
        near = leaders[: len(groups)] @ vector >= threshold
        if near.any():
            groups[int(near.argmax())][1].append(hit)
        elif len(groups) < limit:
            leaders[len(groups)] = vector
            groups.append((hit, []))
    return [Group(hit, tuple(duplicates[:MOST_DUPLICATES])) for hit, duplicates in groups]
