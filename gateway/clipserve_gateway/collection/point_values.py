"""Arguments and results of operations on points."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from clipserve_gateway.errors import ClipserveError, InvalidInput, PointExists
from clipserve_gateway.index.values import Payload, Point
from clipserve_gateway.types import Floats, Input


@dataclass(frozen=True)
class NewPoint:
    """A point to write: an image or text to embed, or a normalized embedding."""

    id: str
    source: Input | Floats
    payload: Payload
    source_uri: str = ""
    kept_source: Input | None = None
    """The source of a given embedding."""
    must_be_new: bool = False
    """Whether to leave an existing point with this id unchanged."""


@dataclass(frozen=True)
class UpsertOutcome:
    """For each point: its error, None if it was written; and whether its text was truncated."""

    statuses: list[ClipserveError | None]
    truncated: list[bool]

    def without(self, points: Sequence[NewPoint | InvalidInput], taken: Set[str]) -> UpsertOutcome:
        """The outcome with PointExists for the points whose ids are in `taken`."""
        if not taken:
            return self
        statuses = [
            PointExists(f"the collection already has a point with id {point.id[:80]!r}", field="id")
            if isinstance(point, NewPoint) and status is None and point.id in taken
            else status
            for point, status in zip(points, self.statuses, strict=True)
        ]
        return UpsertOutcome(statuses, self.truncated)


@dataclass(frozen=True)
class Page:
    """Points in the order of their ids; `more` tells whether other points follow."""

    points: list[Point]
    more: bool
