"""Collections: their index, statistics and migration."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from clipserve.types.server import ImageRules, ModelRef


@dataclass(frozen=True)
class IndexOptions:
    """Options of a collection's vector index (HNSW). For numbers, 0 means the engine's default."""

    exact: bool = False
    """No index: every search compares the query with every point."""
    m: int = 0
    """Links per node, 4…128. Higher values find more and use more memory."""
    ef_construction: int = 0
    """Candidates per point while the index is built, 8…4,096."""
    ef_search: int = 0
    """Candidates per search, 8…4,096. Higher values find more and take longer."""


@dataclass(frozen=True)
class IndexStatus:
    """The progress of an index."""

    state: str
    """``none`` (searches are exact), ``building`` or ``ready``."""
    indexed: int
    """Number of points in the index."""


@dataclass(frozen=True)
class ScoreStatistics:
    """The distribution of cosines of random pairs in a collection."""

    query: str
    """``text`` (everyday texts × points) or ``image`` (points × points)."""
    pairs: int
    mean: float
    stddev: float
    p50: float
    """The median cosine. p95, p99 and p999 are the cosines below which 95 %, 99 % and 99.9 % of pairs lie."""
    p95: float
    p99: float
    p999: float


@dataclass(frozen=True)
class FailedPoint:
    """A point that the new model could not embed."""

    id: str
    message: str


@dataclass(frozen=True)
class NeighborOverlap:
    """How many neighbors two models have in common. This does not measure quality."""

    k: int
    """Neighbors compared for each query."""
    queries: int
    mean: float
    """Mean fraction of neighbors that both models find, 0…1."""
    p10: float
    """10th percentile of this fraction over the queries."""


@dataclass(frozen=True)
class Migration:
    """A migration of a collection to another model."""

    state: str
    """``running``, ``ready`` (can be switched), ``switched`` or ``waiting`` (for its next attempt)."""
    source: ModelRef
    """The model before the switch."""
    target: ModelRef
    """The model after the switch."""
    total: int
    """Number of points to embed again, counted at the start."""
    done: int
    """Number of points processed so far."""
    failed: int
    """Number of points without an embedding of the new model."""
    failures: tuple[FailedPoint, ...]
    """The first of these points, at most 16."""
    overlap: NeighborOverlap | None
    """Comparison of both models' neighbors; None until the migration is ready."""
    error: str
    """Why the migration waits."""
    start_time: dt.datetime
    source_rules: ImageRules = field(default_factory=ImageRules)
    """The rules for images before the switch."""
    target_rules: ImageRules = field(default_factory=ImageRules)
    """The rules for images after the switch."""


@dataclass(frozen=True)
class Collection:
    """A collection of embedded points."""

    name: str
    model: ModelRef
    metric: str
    """``cosine``."""
    schema: Mapping[str, str]
    """Type of each payload field: string, int, double, bool, timestamp or string_list."""
    count: int
    create_time: dt.datetime
    aliases: tuple[str, ...] = ()
    """Aliases that point to the collection."""
    keep_sources: bool = False
    """Whether the collection stores the sources of its points."""
    index_options: IndexOptions = IndexOptions()
    index_status: IndexStatus | None = None
    """None in lists."""
    migration: Migration | None = None
    """The migration to another model; None if there is none or it has ended."""
    score_statistics: tuple[ScoreStatistics, ...] = ()
    """Empty in lists, and while the collection has too few points."""
    image_rules: ImageRules = field(default_factory=ImageRules)
    """The rules for its images, and for images that are searched in it."""
