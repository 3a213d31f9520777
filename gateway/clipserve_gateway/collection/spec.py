"""A collection without its points, and the document that stores it."""

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

from clipserve_gateway.errors import CollectionNotFound
from clipserve_gateway.index.values import IndexOptions, PayloadType, TableSpec
from clipserve_gateway.types import AS_OPEN_CLIP, ImageRules

COLLECTIONS = "names/collection/"
"""Key prefix of the documents of collections."""
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,63}")
"""Valid names of collections and aliases."""
CACHE_SIZE = 1024
"""Parsed documents kept in memory: every list of the collections reads the same documents."""


@dataclass(frozen=True)
class Generation:
    """The points of a collection as embedded by one model: one table."""

    table: str
    model: str
    fingerprint: str
    dim: int
    stamped: bool = False
    """Whether rows have stamps; tables of older releases do not."""
    rules: ImageRules = AS_OPEN_CLIP
    """The rules for its images; both are off in documents of older releases."""


class MigrationState(enum.Enum):
    """State of a migration."""

    RUNNING = "running"
    READY = "ready"
    SWITCHED = "switched"


class Phase(enum.Enum):
    """Phase of a running switchover."""

    DRAIN = "drain"
    """New writes wait; running writes end."""
    COPY = "copy"
    """The other generation is made equal to the serving one."""
    SETTLE = "settle"
    """The other generation serves now; all gateways learn about it."""


@dataclass(frozen=True)
class Switchover:
    """A running switch or rollback. No write begins while there is one."""

    token: str
    """Random, of the gateway that runs it; a gateway that finds another token here must stop."""
    phase: Phase


@dataclass(frozen=True)
class Overlap:
    """Share of nearest neighbors that two models agree on, 0…1, with sampled points as queries."""

    k: int
    queries: int
    mean: float
    p10: float


@dataclass(frozen=True)
class Migration:
    """A migration to another model. `other` is the generation that does not serve."""

    state: MigrationState
    other: Generation
    start_time: dt.datetime
    total: int = 0
    done: int = 0
    failures: tuple[tuple[str, str], ...] = ()
    """The first points that could not be embedded again, with the reason."""
    failed: int = 0
    cursor: str = ""
    """The last id that was processed."""
    overlap: Overlap | None = None
    error: str = ""
    """Why it is waiting; empty if it is not."""
    beat: int = 0
    """Increases while a gateway works on it; if it stops, another gateway takes over."""
    switchover: Switchover | None = None
    """Stored as "turn"."""


@dataclass(frozen=True)
class CollectionSpec:
    """A collection: its fixed properties, the serving generation, and a running migration."""

    name: str
    schema: Mapping[str, PayloadType]
    create_time: dt.datetime
    serving: Generation
    keep_sources: bool = False
    index: IndexOptions = field(default_factory=IndexOptions)
    migration: Migration | None = None

    @property
    def model(self) -> str:
        """Name of the serving model."""
        return self.serving.model

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models whose embeddings it has: one, or two during a migration."""
        return tuple(generation.model for generation in self.generations)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the serving model."""
        return self.serving.fingerprint

    @property
    def dim(self) -> int:
        """Dimension of the serving model's embeddings."""
        return self.serving.dim

    @property
    def table(self) -> TableSpec:
        """The serving table."""
        return self.table_of(self.serving)

    @property
    def generations(self) -> tuple[Generation, ...]:
        """The generations that writes go to, serving generation first."""
        return (self.serving,) if self.migration is None else (self.serving, self.migration.other)

    def table_of(self, generation: Generation) -> TableSpec:
        """The table of a generation."""
        return TableSpec(
            generation.table, generation.dim, self.schema, self.keep_sources, self.index, generation.stamped
        )

    @property
    def switchover(self) -> Switchover | None:
        """The running switch or rollback."""
        return None if self.migration is None else self.migration.switchover


def check_not_recreated(earlier: CollectionSpec, current: CollectionSpec) -> None:
    """Raises CollectionNotFound if the collection was deleted and created again since `earlier` was read."""
    if current.create_time != earlier.create_time:
        raise CollectionNotFound(
            f"collection {earlier.name!r} was deleted and created again during this call; try again",
            field="collection",
        )


def write_spec(spec: CollectionSpec) -> bytes:
    """The document of a collection."""

    def plain(value: Any) -> Any:
        return value.value if isinstance(value, enum.Enum) else value.isoformat()

    facts = dataclasses.asdict(spec)
    generations = [facts["serving"]]
    if facts["migration"] is not None:
        facts["migration"]["turn"] = facts["migration"].pop("switchover")
        generations.append(facts["migration"]["other"])
    for generation in generations:
        # Older gateways can read the documents of collections without rules.
        if generation["rules"] == dataclasses.asdict(AS_OPEN_CLIP):
            del generation["rules"]
    return json.dumps(facts, default=plain).encode()


@functools.lru_cache(maxsize=CACHE_SIZE)
def read_spec(document: bytes) -> CollectionSpec:
    """The collection in a document."""
    facts = json.loads(document)
    facts["schema"] = {name: PayloadType(kind) for name, kind in facts["schema"].items()}
    facts["create_time"] = dt.datetime.fromisoformat(facts["create_time"])
    facts["serving"] = read_generation(facts["serving"])
    facts["index"] = IndexOptions(**facts["index"])
    if facts["migration"] is not None:
        facts["migration"] = read_migration(facts["migration"])
    return CollectionSpec(**facts)


def read_generation(facts: dict[str, Any]) -> Generation:
    """The generation in a document."""
    rules = facts.pop("rules", None)
    generation = Generation(**facts)
    if rules is None:
        return generation
    background = rules["background"]
    return dataclasses.replace(
        generation, rules=ImageRules(rules["orientation"], background and tuple(background))
    )


def read_migration(facts: dict[str, Any]) -> Migration:
    """The migration in a document."""
    switchover = facts.pop("turn", None)
    return Migration(
        **facts
        | {
            "state": MigrationState(facts["state"]),
            "other": read_generation(facts["other"]),
            "start_time": dt.datetime.fromisoformat(facts["start_time"]),
            "failures": tuple((id, message) for id, message in facts["failures"]),
            "switchover": switchover and Switchover(switchover["token"], Phase(switchover["phase"])),
            "overlap": None if facts["overlap"] is None else Overlap(**facts["overlap"]),
        }
    )
