"""Collections of the fake server: dictionaries, and filters evaluated point by point."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from clipserve.v1 import collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

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
    """One point; `vector` has length 1."""

    id: str
    vector: np.ndarray
    payload: dict[str, common_pb2.Value]


@dataclass
class FakeCollection:
    """One collection."""

    name: str
    model: common_pb2.ModelRef
    schema: dict[str, str]
    fields: list[collection_pb2.PayloadField]
    refused: type[Any]
    points: dict[str, FakePoint] = field(default_factory=dict)

    def message(self) -> collection_pb2.Collection:
        """As an answer tells it."""
        return collection_pb2.Collection(
            name=self.name,
            model=self.model,
            metric=collection_pb2.METRIC_COSINE,
            schema=self.fields,
            count=len(self.points),
            create_time=Timestamp(seconds=1_700_000_000),
        )

    def upsert(self, point: collection_pb2.PointInput, vector: np.ndarray) -> None:
        """Writes one point."""
        if not 1 <= len(point.id.encode()) <= 512 or any(letter < " " for letter in point.id):
            raise self.refused("INVALID_ARGUMENT", "INVALID_INPUT", "bad id", "id")
        for name, value in point.payload.items():
            if self.schema.get(name) != value.WhichOneof("kind"):
                path = f'payload["{name}"]'
                raise self.refused("INVALID_ARGUMENT", "PAYLOAD_INVALID", "does not fit the schema", path)
        self.points[point.id] = FakePoint(point.id, vector, dict(point.payload))

    def matching(self, condition: common_pb2.Filter | None) -> list[FakePoint]:
        """The points that meet a filter."""
        if condition is None:
            return list(self.points.values())
        return [point for point in self.points.values() if self.holds(condition, point.payload)]

    def holds(self, node: common_pb2.Filter, payload: dict[str, common_pb2.Value]) -> bool:
        """Whether a payload meets a filter."""
        kind = node.WhichOneof("node")
        if kind == "all_of":
            return all(self.holds(part, payload) for part in node.all_of.filters)
        if kind == "any_of":
            return any(self.holds(part, payload) for part in node.any_of.filters)
        if kind == "negation":
            return not self.holds(node.negation, payload)
        if kind not in ("eq", "in_list", "range"):
            raise self.refused("INVALID_ARGUMENT", "FILTER_INVALID", "the filter is not set", "filter")
        test = getattr(node, kind)
        if test.field not in self.schema:
            path = f"filter.{kind}.field"
            raise self.refused("INVALID_ARGUMENT", "FILTER_INVALID", f"no field {test.field!r}", path)
        if test.field not in payload:
            return False
        found = plain(payload[test.field])
        if kind == "range":
            return in_range(found, test)
        wanted = [plain(value) for value in (test.values if kind == "in_list" else [test.value])]
        return any(value in wanted for value in (found if isinstance(found, list) else [found]))


def plain(value: common_pb2.Value) -> Any:
    """The value as Python compares it."""
    kind = value.WhichOneof("kind")
    if kind == "string_list":
        return list(value.string_list.values)
    if kind == "timestamp_value":
        return (value.timestamp_value.seconds, value.timestamp_value.nanos)
    return getattr(value, kind)


def in_range(found: Any, test: common_pb2.RangeFilter) -> bool:
    """Whether every bound that is set holds."""
    signs = {
        "gt": lambda bound: found > bound,
        "gte": lambda bound: found >= bound,
        "lt": lambda bound: found < bound,
        "lte": lambda bound: found <= bound,
    }
    return all(holds(plain(getattr(test, name))) for name, holds in signs.items() if test.HasField(name))


class FakeStore:
    """All collections."""

    def __init__(
        self,
        embed_text: Callable[[str], np.ndarray],
        embed_image: Callable[[Any, Any], np.ndarray],
        unit: Callable[[np.ndarray], np.ndarray],
        refused: type[Any],
    ) -> None:
        self.collections: dict[str, FakeCollection] = {}
        self._embed_text, self._embed_image, self._unit, self._refused = (
            embed_text,
            embed_image,
            unit,
            refused,
        )

    def create(self, name: str, model: common_pb2.ModelRef, fields: Any) -> FakeCollection:
        """Makes a collection."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{2,63}", name):
            raise self._refused("INVALID_ARGUMENT", "INVALID_INPUT", "bad name", "name")
        if name in self.collections:
            raise self._refused("ALREADY_EXISTS", "COLLECTION_EXISTS", f"{name} exists", "name")
        schema = {item.name: KINDS[item.type] for item in fields}
        made = FakeCollection(name, model, schema, list(fields), self._refused)
        self.collections[name] = made
        return made

    def get(self, name: str) -> FakeCollection:
        """A collection that exists."""
        if name not in self.collections:
            raise self._refused("NOT_FOUND", "COLLECTION_NOT_FOUND", f"no collection {name!r}", "collection")
        return self.collections[name]

    def vector(self, message: Any, kind: str | None, limits: Any) -> np.ndarray:
        """The embedding of a point or query, length 1."""
        if kind == "text":
            return self._unit(self._embed_text(message.text))
        if kind == "image":
            try:
                return self._unit(self._embed_image(message.image, limits))
            except self._refused as refused:
                raise refused.at("image") from None
        if kind is None:
            raise self._refused("INVALID_ARGUMENT", "INVALID_INPUT", "set image, text or embedding")
        vector = np.frombuffer(message.embedding.float32_le, "<f4")
        if not np.isfinite(vector).all() or not vector.any():
            raise self._refused("INVALID_ARGUMENT", "EMBEDDING_INVALID", "not finite, or zero", "embedding")
        if len(vector) != 16:
            raise self._refused(
                "FAILED_PRECONDITION", "DIMENSION_MISMATCH", f"{len(vector)} numbers, not 16", "embedding"
            )
        return self._unit(vector)
