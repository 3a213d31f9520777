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


def grouped(hits: Sequence[Hit], vectors: Mapping[str, Floats], threshold: float) -> list[Group]:
    """Hits (best first) in groups, best first; `vectors` are normalized float32 [D], by id.

    A hit joins the first group whose best hit is as near to it as the threshold. Being near to the best
    one, not to just any member, keeps a chain of small differences from joining what is not alike.
    """
    if not hits:
        return []
    matrix = np.stack([vectors[hit.id] for hit in hits])
    leaders: list[int] = []
    members: dict[int, list[Hit]] = {}
    for i, hit in enumerate(hits):
        near = matrix[leaders] @ matrix[i] >= threshold if leaders else np.zeros(0, bool)
        if near.any():
            members[leaders[int(near.argmax())]].append(hit)
        else:
            leaders.append(i)
            members[i] = []
    return [Group(hits[i], tuple(members[i][:MOST_DUPLICATES])) for i in leaders]
