"""Collections of the fake server: dictionaries, with filters evaluated for each point."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from client.fake_base import Refused, State, invalid
from client.fake_images import embed_image, encoded
from client.fake_migration import FakeMigration, conflict
from client.fake_model import by_model, embed_text, packed, unit
from clipserve.v1 import collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{2,63}")
KINDS = {
    common_pb2.PAYLOAD_TYPE_STRING: "string_value",
    common_pb2.PAYLOAD_TYPE_INT: "int_value",
    common_pb2.PAYLOAD_TYPE_DOUBLE: "double_value",
    common_pb2.PAYLOAD_TYPE_BOOL: "bool_value",
    common_pb2.PAYLOAD_TYPE_TIMESTAMP: "timestamp_value",
    common_pb2.PAYLOAD_TYPE_STRING_LIST: "string_list",
}


@dataclass
class FakePoint:
    """One point. `vectors` are normalized embeddings by model name."""

    id: str
    vectors: dict[str, np.ndarray]
    payload: dict[str, common_pb2.Value]
    source: dict[str, Any]
    """Its source, as the field of a Point message; empty if not stored."""
    source_uri: str

    def vector(self, model: common_pb2.ModelRef) -> np.ndarray:
        """A model's embedding."""
        return self.vectors[model.name]

    def message(
        self, model: common_pb2.ModelRef, *, with_embeddings: bool, with_sources: bool
    ) -> collection_pb2.Point:
        """As an answer tells it."""
        return collection_pb2.Point(
            id=self.id,
            payload=self.payload,
            embedding=packed(self.vector(model)) if with_embeddings else None,
            source_uri=self.source_uri,
            **(self.source if with_sources else {}),
        )


@dataclass
class FakeCollection:
    """One collection."""

    name: str
    model: common_pb2.ModelRef
    schema: dict[str, str]
    request: collection_pb2.CreateCollectionRequest
    image_rules: common_pb2.ImageRules
    every: dict[str, FakePoint] = field(default_factory=dict)
    migration: FakeMigration | None = None

    @property
    def points(self) -> dict[str, FakePoint]:
        """The points with an embedding of the current model, sorted by id."""
        ids = sorted(self.every, key=str.encode)
        return {id: self.every[id] for id in ids if self.model.name in self.every[id].vectors}

    @property
    def models(self) -> list[common_pb2.ModelRef]:
        """The models whose embeddings are written."""
        migration = self.migration
        return [self.model] if migration is None else [migration.source, migration.target]

    def message(self, aliases: list[str]) -> collection_pb2.Collection:
        """The message of the collection in lists."""
        return collection_pb2.Collection(
            name=self.name,
            model=self.model,
            metric=collection_pb2.METRIC_COSINE,
            schema=self.request.schema,
            count=len(self.points),
            create_time=Timestamp(seconds=1_700_000_000),
            aliases=aliases,
            keep_sources=self.request.keep_sources,
            index_options=self.request.index_options,
            migration=self.migration.message() if self.migration else None,
            image_rules=self.image_rules,
        )

    def matching(self, condition: common_pb2.Filter | None) -> list[FakePoint]:
        """The points that match a filter."""
        if condition is None:
            return list(self.points.values())
        return [point for point in self.points.values() if self.holds(condition, point.payload)]

    def holds(self, node: common_pb2.Filter, payload: dict[str, common_pb2.Value]) -> bool:
        """Whether a payload matches a filter."""
        kind = node.WhichOneof("node")
        if kind == "all_of":
            return all(self.holds(part, payload) for part in node.all_of.filters)
        if kind == "any_of":
            return any(self.holds(part, payload) for part in node.any_of.filters)
        if kind == "negation":
            return not self.holds(node.negation, payload)
        if kind not in ("eq", "in_list", "range"):
            raise invalid(
                "FILTER_INVALID",
                "the filter is not set: set one of eq, in_list, range, negation, all_of and any_of",
                "filter",
            )
        test = getattr(node, kind)
        if test.field not in self.schema:
            path = f"filter.{kind}.field"
            raise invalid("FILTER_INVALID", f"no field {test.field!r}", path)
        if test.field not in payload:
            return False
        value = plain(payload[test.field])
        if kind == "range":
            return in_range(value, test)
        wanted = [plain(value) for value in (test.values if kind == "in_list" else [test.value])]
        return any(one in wanted for one in (value if isinstance(value, list) else [value]))


def plain(value: common_pb2.Value) -> Any:
    """The value as a Python value."""
    kind = value.WhichOneof("kind")
    if kind == "string_list":
        return list(value.string_list.values)
    if kind == "timestamp_value":
        return (value.timestamp_value.seconds, value.timestamp_value.nanos)
    return getattr(value, kind)


def in_range(value: Any, test: common_pb2.RangeFilter) -> bool:
    """Whether the value is within all bounds that are set."""
    signs = {
        "gt": lambda bound: value > bound,
        "gte": lambda bound: value >= bound,
        "lt": lambda bound: value < bound,
        "lte": lambda bound: value <= bound,
    }
    return all(holds(plain(getattr(test, name))) for name, holds in signs.items() if test.HasField(name))


class FakeStore:
    """All collections and their aliases.

    Attributes:
        migration_step: number of points that a migration embeds at each GetCollection call.
    """

    def __init__(self, state: State) -> None:
        self.collections: dict[str, FakeCollection] = {}
        self.aliases: dict[str, str] = {}
        self.migration_step = 1_000
        self._state = state

    def create(self, request: collection_pb2.CreateCollectionRequest) -> FakeCollection:
        """Creates a collection."""
        name, model = request.name, self._state.named(request.model)
        if not NAME.fullmatch(name):
            raise invalid("INVALID_INPUT", "bad name", "name")
        if name in self.collections or name in self.aliases:
            raise Refused("ALREADY_EXISTS", "COLLECTION_EXISTS", f"{name} exists", "name")
        if request.keep_sources and not self._state.keeps_sources:
            raise invalid("INVALID_INPUT", "no sources are kept", "keep_sources")
        if request.index_options.m not in (0, *range(4, 129)):
            raise invalid("INVALID_INPUT", "4 to 128", "index_options.m")
        rules = request.image_rules if request.HasField("image_rules") else self._state.image_rules
        schema = {item.name: KINDS[item.type] for item in request.schema}
        made = FakeCollection(name, model, schema, request, rules)
        self.collections[name] = made
        return made

    def get(self, name: str) -> FakeCollection:
        """A collection by its name or an alias."""
        name = self.aliases.get(name, name)
        if name not in self.collections:
            raise Refused("NOT_FOUND", "COLLECTION_NOT_FOUND", f"no collection {name!r}", "collection")
        return self.collections[name]

    def aliases_of(self, collection: FakeCollection) -> list[str]:
        """Aliases of a collection, sorted by name."""
        return sorted(alias for alias, name in self.aliases.items() if name == collection.name)

    def drop(self, name: str) -> None:
        """Deletes a collection."""
        if name not in self.collections:
            raise Refused("NOT_FOUND", "COLLECTION_NOT_FOUND", f"no collection {name!r}", "name")
        if self.aliases_of(self.collections[name]):
            raise Refused("FAILED_PRECONDITION", "COLLECTION_HAS_ALIASES", f"{name} has aliases", "name")
        del self.collections[name]

    def put_alias(self, alias: collection_pb2.Alias) -> str:
        """Points an alias to a collection. Returns its previous collection."""
        if not NAME.fullmatch(alias.name):
            raise invalid("INVALID_INPUT", "bad name", "alias.name")
        if alias.name in self.collections:
            message = f"{alias.name} is a collection"
            raise Refused("ALREADY_EXISTS", "COLLECTION_EXISTS", message, "alias.name")
        if alias.collection not in self.collections:
            message = f"no collection {alias.collection!r}"
            raise Refused("NOT_FOUND", "COLLECTION_NOT_FOUND", message, "alias.collection")
        previous = self.aliases.get(alias.name, "")
        self.aliases[alias.name] = alias.collection
        return previous

    def upsert(self, collection: FakeCollection, point: collection_pb2.PointInput) -> None:
        """Writes one point, for all models of the collection."""
        kind = point.WhichOneof("source")
        kept = point.WhichOneof("kept_source")
        if kept is not None and (kind != "embedding" or not collection.request.keep_sources):
            raise invalid("INVALID_INPUT", "goes with an embedding, where sources are kept", kept)
        if kind == "embedding" and collection.migration is not None:
            raise conflict("the collection is moving; send the image or text", "embedding")
        vectors = {model.name: self.vector(point, kind, model) for model in collection.models}
        if not 1 <= len(point.id.encode()) <= 512 or any(letter < " " for letter in point.id):
            raise invalid("INVALID_INPUT", "bad id", "id")
        if len(point.source_uri.encode()) > 2048:
            raise invalid("INVALID_INPUT", "too long", "source_uri")
        for name, value in point.payload.items():
            if collection.schema.get(name) != value.WhichOneof("kind"):
                raise invalid("PAYLOAD_INVALID", "does not fit the schema", f'payload["{name}"]')
        if point.must_be_new and point.id in collection.every:
            raise Refused("ALREADY_EXISTS", "POINT_EXISTS", "another has this id", "id")
        source: dict[str, Any] = {}
        if collection.request.keep_sources and kind == "image":
            source = {"image_content": encoded(point.image, self._state.limits)}
        elif collection.request.keep_sources and kind == "text":
            source = {"text": point.text}
        elif kept == "kept_image":
            source = {"image_content": encoded(point.kept_image, self._state.limits)}
        elif kept == "kept_text":
            source = {"text": point.kept_text}
        collection.every[point.id] = FakePoint(
            point.id, vectors, dict(point.payload), source, point.source_uri
        )

    def vector(self, message: Any, kind: str | None, model: common_pb2.ModelRef) -> np.ndarray:
        """A model's embedding of a point or query, length 1."""
        if kind == "text":
            return unit(by_model(model.name, embed_text(message.text)))
        if kind == "image":
            try:
                return unit(by_model(model.name, embed_image(message.image, self._state.limits)))
            except Refused as refused:
                raise refused.at("image") from None
        if kind is None:
            raise invalid("INVALID_INPUT", "set image, text or embedding")
        vector = np.frombuffer(message.embedding.float32_le, "<f4")
        if not np.isfinite(vector).all() or not vector.any():
            raise invalid("EMBEDDING_INVALID", "not finite, or zero", "embedding")
        if len(vector) != 16:
            raise Refused(
                "FAILED_PRECONDITION", "DIMENSION_MISMATCH", f"{len(vector)} numbers, not 16", "embedding"
            )
        return unit(vector)

    def start_migration(self, name: str, to_model: str) -> FakeCollection:
        """Starts a migration."""
        collection, model = self.get(name), self._state.named(to_model)
        if collection.migration is not None:
            raise conflict("a migration has not been ended")
        if model.fingerprint == collection.model.fingerprint:
            raise conflict("that is its model already", "to_model")
        if collection.points and not collection.request.keep_sources:
            raise Refused("FAILED_PRECONDITION", "SOURCES_NOT_KEPT", "no sources are kept", "collection")
        collection.migration = FakeMigration(collection.model, model, list(collection.points))
        return collection

    def advance(self, collection: FakeCollection) -> None:
        """Embeds the next points with the new model."""
        migration = collection.migration
        if migration is None or migration.waiting:
            return
        step, migration.pending = (
            migration.pending[: self.migration_step],
            migration.pending[self.migration_step :],
        )
        for point in (collection.every[id] for id in step if id in collection.every):
            if point.source:
                message = collection_pb2.PointInput(text=point.source.get("text", ""))
                if "image_content" in point.source:
                    message.image.content = point.source["image_content"]
                kind = message.WhichOneof("source")
                point.vectors[migration.target.name] = self.vector(message, kind, migration.target)
            elif migration.target.name not in point.vectors:
                migration.failures[point.id] = "its source is not kept"

    def switch(self, name: str, without_failed: bool, accepted: int) -> FakeCollection:
        """Makes the new model answer."""
        collection = self.get(name)
        migration = collection.migration
        if migration is None or not migration.ready:
            raise conflict("there is no migration that is ready")
        dropped = len(migration.failures)
        few = without_failed and dropped <= 16 and dropped < migration.total
        if accepted != dropped and not (few and not accepted):
            raise conflict(f"{dropped} of {migration.total} points would be dropped", "accept_dropped")
        migration.switched, collection.model = True, migration.target
        return collection

    def roll_back(self, name: str) -> FakeCollection:
        """Makes the old model answer."""
        collection = self.get(name)
        migration = collection.migration
        if migration is None or not migration.switched:
            raise conflict("nothing was switched")
        migration.switched, collection.model = False, migration.source
        return collection

    def end_migration(self, name: str) -> FakeCollection:
        """Keeps the current model."""
        collection = self.get(name)
        if collection.migration is None:
            raise conflict("there is no migration")
        collection.migration = None
        for point in list(collection.every.values()):
            point.vectors = {k: v for k, v in point.vectors.items() if k == collection.model.name}
            if not point.vectors:
                del collection.every[point.id]
        return collection
