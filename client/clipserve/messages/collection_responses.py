"""Reads collections from responses, with their index, statistics and migration."""

from __future__ import annotations

import datetime as dt

from clipserve.messages.responses import read_fields, read_model
from clipserve.types import (
    Collection,
    FailedPoint,
    ImageRules,
    IndexOptions,
    IndexStatus,
    Migration,
    NeighborOverlap,
    ScoreStatistics,
)
from clipserve.v1 import collection_pb2
from clipserve.wire.payload import TYPE_NAMES

METRICS = {"cosine": collection_pb2.METRIC_COSINE}
METRIC_NAMES = {number: name for name, number in METRICS.items()}
INDEX_STATES = {
    collection_pb2.INDEX_STATE_NONE: "none",
    collection_pb2.INDEX_STATE_BUILDING: "building",
    collection_pb2.INDEX_STATE_READY: "ready",
}
MIGRATION_STATES = {
    collection_pb2.MIGRATION_STATE_RUNNING: "running",
    collection_pb2.MIGRATION_STATE_READY: "ready",
    collection_pb2.MIGRATION_STATE_SWITCHED: "switched",
    collection_pb2.MIGRATION_STATE_WAITING: "waiting",
}


def read_collection(collection: collection_pb2.Collection) -> Collection:
    has, status = collection.HasField, collection.index_status
    return read_fields(
        Collection,
        collection,
        model=read_model(collection.model),
        metric=METRIC_NAMES.get(collection.metric, "unknown"),
        schema={field.name: TYPE_NAMES.get(field.type, "unknown") for field in collection.schema},
        create_time=collection.create_time.ToDatetime(dt.timezone.utc),
        aliases=tuple(collection.aliases),
        index_options=read_fields(IndexOptions, collection.index_options),
        index_status=IndexStatus(INDEX_STATES.get(status.state, "unknown"), status.indexed)
        if has("index_status")
        else None,
        migration=read_migration(collection.migration) if has("migration") else None,
        score_statistics=tuple(read_fields(ScoreStatistics, item) for item in collection.score_statistics),
        image_rules=read_fields(ImageRules, collection.image_rules),
    )


def read_migration(migration: collection_pb2.Migration) -> Migration:
    return read_fields(
        Migration,
        migration,
        state=MIGRATION_STATES.get(migration.state, "unknown"),
        source=read_model(getattr(migration, "from")),
        target=read_model(migration.to),
        failures=tuple(read_fields(FailedPoint, point) for point in migration.failures),
        overlap=read_fields(NeighborOverlap, migration.overlap) if migration.HasField("overlap") else None,
        start_time=migration.start_time.ToDatetime(dt.timezone.utc),
        source_rules=read_fields(ImageRules, migration.from_image_rules),
        target_rules=read_fields(ImageRules, migration.to_image_rules),
    )
