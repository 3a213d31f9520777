"""What an engine stores and finds: tables, points, hits, and filters on payloads.

D = dimension of a table's embeddings. Embeddings are L2-normalized float32.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from clipserve_gateway.types import Floats

MAX_ID_BYTES = 512
"""Of a point's id, in UTF-8."""
MAX_URI_BYTES = 2_048
"""Of a point's source_uri, in UTF-8."""

PayloadValue: TypeAlias = str | int | float | bool | dt.datetime | list[str]
"""Datetimes are timezone-aware, UTC, with microseconds."""
Payload: TypeAlias = dict[str, PayloadValue]


class PayloadType(enum.Enum):
    """Types of payload fields."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    STRING_LIST = "string_list"


@dataclass(frozen=True)
class IndexOptions:
    """Options of a collection's vector index; 0 means the engine's default.

    The names are those of HNSW: `m` links per node, `ef_construction` and `ef_search` candidates examined.
    """

    exact: bool = False
    """No index: every search compares with every point."""
    m: int = 0
    ef_construction: int = 0
    ef_search: int = 0


@dataclass(frozen=True)
class TableSpec:
    """What an engine knows of a table of points. Table names are never reused."""

    name: str
    dim: int
    schema: Mapping[str, PayloadType]
    keep_sources: bool = False
    index: IndexOptions = field(default_factory=IndexOptions)
    stamped: bool = False
    """Whether each row holds its point's `stamp`."""


@dataclass(frozen=True)
class Source:
    """What a point was made from: an encoded image file, or a text in UTF-8."""

    kind: Literal["image", "text"]
    content: bytes


@dataclass(frozen=True)
class Point:
    """A stored point. `embedding` (float32 [D]) and `source` are None unless the read asked for them."""

    id: str
    payload: Payload = field(default_factory=dict)
    embedding: Floats | None = None
    source: Source | None = None
    source_uri: str = ""
    """Where the source can be read again; empty if nowhere."""
    stamp: int = field(default=0, compare=False)
    """Identifies the write that made the point: random, 1 … 2^63 - 1, the same in all tables of that write. 0
    where the table holds no stamps."""


@dataclass(frozen=True)
class Hit:
    """A search result; `score` is the cosine, −1…1, a float32. `embedding` is None unless asked for."""

    id: str
    score: float
    payload: Payload
    embedding: Floats | None = field(default=None, compare=False)


class IndexState(enum.Enum):
    """State of a table's vector index."""

    NONE = "none"
    """No index, because there are too few points or the collection is exact: searches are exact."""
    BUILDING = "building"
    READY = "ready"


@dataclass(frozen=True)
class TableStatus:
    """How many points a table has, how many of them the vector index holds, and the index's state."""

    points: int
    indexed: int
    state: IndexState


@dataclass(frozen=True)
class Eq:
    """field == value; for lists of strings: the list contains the string."""

    field: str
    value: PayloadValue


@dataclass(frozen=True)
class In:
    """field equals one of the values."""

    field: str
    values: tuple[PayloadValue, ...]


@dataclass(frozen=True)
class Range:
    """lower bound ≤ field ≤ upper bound; a bound that is None does not apply."""

    field: str
    gt: PayloadValue | None = None
    gte: PayloadValue | None = None
    lt: PayloadValue | None = None
    lte: PayloadValue | None = None


@dataclass(frozen=True)
class And:
    """Every filter matches."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Or:
    """At least one filter matches."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Not:
    """The filter does not match. A comparison with a missing field is false, so its negation is true."""

    filter: Filter


Filter: TypeAlias = Eq | In | Range | And | Or | Not
