"""What operations on points are given and give back."""

from __future__ import annotations

from dataclasses import dataclass

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.types import Floats, Input, Payload, Point


@dataclass(frozen=True)
class NewPoint:
    """A point to write: what to embed, or its normalized embedding."""

    id: str
    source: Input | Floats
    payload: Payload
    source_uri: str = ""
    kept_source: Input | None = None
    """What a given embedding was made of."""


@dataclass(frozen=True)
class UpsertOutcome:
    """What is wrong with each point, None for those that are written; and whether its text lost its end."""

    statuses: list[ClipserveError | None]
    truncated: list[bool]


@dataclass(frozen=True)
class Page:
    """Points in the order of their ids; `more` is whether others follow."""

    points: list[Point]
    more: bool
