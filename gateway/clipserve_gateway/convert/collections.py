"""Collections, aliases and migrations in protobuf."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from clipserve.v1 import collection_pb2 as pb

from clipserve_gateway.collection.management import CollectionFacts
from clipserve_gateway.collection.score_statistics import ScoreBackground
from clipserve_gateway.collection.spec import NAME, CollectionSpec, Migration, MigrationState
from clipserve_gateway.convert.common import read_image_rules, write_image_rules, write_model, write_time
from clipserve_gateway.convert.payload import read_schema, write_schema
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.index.values import IndexOptions, PayloadType
from clipserve_gateway.types import ImageRules

INDEX_RANGES = {"m": (4, 128), "ef_construction": (8, 4_096), "ef_search": (8, 4_096)}


@dataclass(frozen=True)
class CreateCall:
    """A validated CreateCollection request."""

    name: str
    model: str
    schema: dict[str, PayloadType]
    keep_sources: bool
    index: IndexOptions
    rules: ImageRules | None
    """None if the request names none."""


def read_create(request: pb.CreateCollectionRequest) -> CreateCall:
    """Raises InvalidInput for an invalid name, metric, schema, index option or color."""
    if request.metric not in (pb.METRIC_UNSPECIFIED, pb.METRIC_COSINE):
        raise InvalidInput(f"metric {request.metric} is not known; use METRIC_COSINE", field="metric")
    return CreateCall(
        read_collection_name(request.name, "name"),
        request.model,
        read_schema(request.schema),
        request.keep_sources,
        read_index_options(request.index_options),
        read_image_rules(request.image_rules, "image_rules") if request.HasField("image_rules") else None,
    )


def read_collection_name(name: str, field: str) -> str:
    """The name of a new collection or alias."""
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f"name {name[:80]!r} is not valid: use 3 to 64 letters, digits, _ and -, beginning with a letter "
            "or _",
            field=field,
        )
    return name


def read_index_options(options: pb.IndexOptions) -> IndexOptions:
    """The options; 0 means the engine's default."""
    for name, (low, high) in INDEX_RANGES.items():
        number = getattr(options, name)
        if number and not low <= number <= high:
            raise InvalidInput(f"{name} is {number}; give {low} to {high}", field=f"index_options.{name}")
        if number and options.exact:
            raise InvalidInput(
                f"{name} has no effect in an exact collection; set {name} or exact, not both",
                field=f"index_options.{name}",
            )
    return IndexOptions(options.exact, options.m, options.ef_construction, options.ef_search)


def write_collection(facts: CollectionFacts) -> pb.Collection:
    """A collection and its current state."""
    spec = facts.spec
    return pb.Collection(
        name=spec.name,
        model=write_model(spec.serving),
        metric=pb.METRIC_COSINE,
        schema=write_schema(spec.schema),
        count=facts.count,
        create_time=write_time(spec.create_time),
        aliases=facts.aliases,
        keep_sources=spec.keep_sources,
        index_options=pb.IndexOptions(**asdict(spec.index)),
        index_status=None
        if facts.status is None
        else pb.IndexStatus(state=f"INDEX_STATE_{facts.status.state.name}", indexed=facts.status.indexed),
        migration=None if spec.migration is None else write_migration(spec, spec.migration),
        score_statistics=map(write_statistics, facts.statistics),
        image_rules=write_image_rules(spec.serving.rules),
    )


def write_statistics(background: ScoreBackground) -> pb.ScoreStatistics:
    """The distribution of the cosines of unrelated pairs."""
    return pb.ScoreStatistics(
        query=background.query,
        pairs=len(background.cosines),
        mean=float(background.cosines.mean()),
        stddev=float(background.cosines.std()),
        p50=background.quantile(0.5),
        p95=background.quantile(0.95),
        p99=background.quantile(0.99),
        p999=background.quantile(0.999),
    )


def write_migration(spec: CollectionSpec, migration: Migration) -> pb.Migration:
    """A migration; `from` and `to` are the models at its start, whichever of them answers now."""
    switched = migration.state is MigrationState.SWITCHED
    before, after = (migration.other, spec.serving) if switched else (spec.serving, migration.other)
    waits = migration.error and migration.state is MigrationState.RUNNING
    message = pb.Migration(
        state=f"MIGRATION_STATE_{'WAITING' if waits else migration.state.name}",
        to=write_model(after),
        total=migration.total,
        done=migration.done,
        failed=migration.failed,
        failures=[pb.FailedPoint(id=id, message=text) for id, text in migration.failures],
        overlap=None if migration.overlap is None else pb.NeighborOverlap(**asdict(migration.overlap)),
        error=migration.error,
        start_time=write_time(migration.start_time),
        from_image_rules=write_image_rules(before.rules),
        to_image_rules=write_image_rules(after.rules),
    )
    # `from` is a keyword in Python.
    getattr(message, "from").CopyFrom(write_model(before))
    return message
