"""What a collection is, without its points, and the document that keeps it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipserve_gateway.index.values import IndexOptions, PayloadType, TableSpec

COLLECTIONS = "names/collection/"
"""Prefix of the keys of collections' documents."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,63}")
"""Of collections and aliases; nothing is ever called otherwise."""
READ = 1024
"""Documents whose collections are kept: every look at the catalog finds the same ones."""


@dataclass(frozen=True)
class Generation:
    """A collection's points as one model embeds them: a table of their own."""

    table: str
    model: str
    fingerprint: str
    dim: int
    stamped: bool = False
    """Whether rows tell the write that made them; tables of older releases do not."""


class MigrationState(enum.Enum):
    """How far a migration has come."""

    RUNNING = "running"
    READY = "ready"
    SWITCHED = "switched"


class Phase(enum.Enum):
    """What a switch or a roll-back that is under way does at the moment."""

    DRAIN = "drain"
    """New writes wait; those under way end."""
    COPY = "copy"
    """The generation that does not answer is made equal to the one that does."""
    SETTLE = "settle"
    """The other generation answers; gateways get to know it."""


@dataclass(frozen=True)
class Turn:
    """A switch or a roll-back under way. No write begins while there is one."""

    token: str
    """Drawn by the gateway that does it; whoever finds another one here has lost the turn."""
    phase: Phase


@dataclass(frozen=True)
class Overlap:
    """Share of neighbors that two models have in common, 0…1, over sampled points as queries."""

    k: int
    queries: int
    mean: float
    p10: float


@dataclass(frozen=True)
class Migration:
    """A collection's move to another model. `other` is the generation that does not answer at the moment."""

    state: MigrationState
    other: Generation
    start_time: dt.datetime
    total: int = 0
    done: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    """The first points that could not be embedded anew, and why."""
    failed: int = 0
    cursor: str = ""
    """The last id that has been looked at."""
    overlap: Overlap | None = None
    error: str = ""
    """Why it has stopped for a while; empty where it has not."""
    beat: int = 0
    """Grows while some gateway works on it; where it stands still, another one takes over."""
    turn: Turn | None = None


@dataclass(frozen=True)
class CollectionSpec:
    """A collection: what never changes in it, the generation that answers, and a migration under way."""

    name: str
    schema: Mapping[str, PayloadType]
    create_time: dt.datetime
    serving: Generation
    keep_sources: bool = False
    index: IndexOptions = field(default_factory=IndexOptions)
    migration: Migration | None = None

    @property
    def model(self) -> str:
        """Name of the model that answers."""
        return self.serving.model

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models whose embeddings it holds: one, and during a migration two."""
        return tuple(generation.model for generation in self.generations)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model that answers."""
        return self.serving.fingerprint

    @property
    def dim(self) -> int:
        """Numbers of an embedding of the model that answers."""
        return self.serving.dim

    @property
    def table(self) -> TableSpec:
        """The table that answers."""
        return self.table_of(self.serving)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Those that writes go to, the one that answers first."""
        return (self.serving,) if self.migration is None else (self.serving, self.migration.other)

    def table_of(self, generation: Generation) -> TableSpec:
        """The table of a generation."""
        return TableSpec(
            generation.table, generation.dim, self.schema, self.keep_sources, self.index, generation.stamped
        )

    @property
    def turn(self) -> Turn | None:
        """The switch or roll-back that is under way."""
        return None if self.migration is None else self.migration.turn


def write_spec(spec: CollectionSpec) -> bytes:
    """The collection's document."""

    def plain(value: Any) -> Any:
        return value.value if isinstance(value, enum.Enum) else value.isoformat()

    return json.dumps(dataclasses.asdict(spec), default=plain).encode()


@functools.lru_cache(maxsize=READ)
def read_spec(document: bytes) -> CollectionSpec:
    """The collection that a document describes."""
    facts = json.loads(document)
    facts["schema"] = {name: PayloadType(kind) for name, kind in facts["schema"].items()}
    facts["create_time"] = dt.datetime.fromisoformat(facts["create_time"])
    facts["serving"] = Generation(**facts["serving"])
    facts["index"] = IndexOptions(**facts["index"])
    if facts["migration"] is not None:
        facts["migration"] = read_migration(facts["migration"])
    return CollectionSpec(**facts)


def read_migration(facts: dict[str, Any]) -> Migration:
    """The migration in a document."""
    turn = facts.get("turn")
    return Migration(
        **facts
        | {
            "state": MigrationState(facts["state"]),
            "other": Generation(**facts["other"]),
            "start_time": dt.datetime.fromisoformat(facts["start_time"]),
            "failures": tuple((id, message) for id, message in facts["failures"]),
            "turn": None if turn is None else Turn(turn["token"], Phase(turn["phase"])),
            "overlap": None if facts["overlap"] is None else Overlap(**facts["overlap"]),
        }
    )
