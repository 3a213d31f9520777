"""What operations on points are given and give back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from clipserve_gateway.errors import ClipserveError, InvalidInput, PointExists
from clipserve_gateway.index.values import Payload, Point
from clipserve_gateway.types import Floats, Input


@dataclass(frozen=True)
class NewPoint:
    """A point to write: what to embed, or its normalized embedding."""

    id: str
    source: Input | Floats
    payload: Payload
    source_uri: str = ""
    kept_source: Input | None = None
    """What a given embedding was made of."""
    must_be_new: bool = False
    """Whether a point that has this id stays as it is."""


@dataclass(frozen=True)
class UpsertOutcome:
    """What is wrong with each point, None for those that are written; and whether its text lost its end."""

    statuses: list[ClipserveError | None]
    truncated: list[bool]

    def without(self, points: Sequence[NewPoint | InvalidInput], taken: Set[str]) -> UpsertOutcome:
        """The outcome where some of the points, by their ids, were not written: others have these ids."""
        if not taken:
            return self
        statuses = [
            PointExists(f"the collection has a point with the id {point.id[:80]!r}", field="id")
            if isinstance(point, NewPoint) and status is None and point.id in taken
            else status
            for point, status in zip(points, self.statuses, strict=True)
        ]
        return UpsertOutcome(statuses, self.truncated)


def ids_to_insert(points: Iterable[NewPoint | InvalidInput]) -> set[str]:
    """Ids of the points that must be new."""
    return {point.id for point in points if isinstance(point, NewPoint) and point.must_be_new}


@dataclass(frozen=True)
class Page:
    """Points in the order of their ids; `more` is whether others follow."""

    points: list[Point]
    more: bool
