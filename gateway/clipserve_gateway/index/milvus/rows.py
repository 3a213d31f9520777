"""Converts points to rows of a Milvus collection and back.

Columns: id, embedding, one for each payload field, `has` (numbers of the fields that a point has, as Milvus
2.3 has no null), source_uri, `lot` (a hash of the id, by which tables are sampled), and `stamp` in tables
with stamps.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipserve_gateway.errors import InvalidInput, InvalidPayload
from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.milvus.filters import literal
from clipserve_gateway.index.timestamps import from_microseconds, to_microseconds
from clipserve_gateway.index.values import MAX_ID_BYTES, Payload, PayloadType, PayloadValue, Point, TableSpec

MAX_TEXT_BYTES = 65_535
MAX_LIST = 4_096
MAX_FIELDS = 58
"""Milvus has 64 columns, of which six are the engine's own or left free."""
LOTS = 2**32
"""Lots are numbers from 0 to LOTS - 1."""
STAMP = "stamp"

EMPTY: dict[PayloadType, Any] = {
    PayloadType.STRING: "",
    PayloadType.INT: 0,
    PayloadType.DOUBLE: 0.0,
    PayloadType.BOOL: False,
    PayloadType.TIMESTAMP: 0,
    PayloadType.STRING_LIST: [],
}
"""What a column holds if a point has no value; `has` distinguishes it from a real value."""


def add_columns(milvus: Any, schema: Any, table: TableSpec) -> None:
    """Adds a table's columns to a schema; `milvus` is the module pymilvus. Raises InvalidInput."""
    if table.keep_sources:
        raise InvalidInput(
            "the Milvus engine cannot store sources: give points a source_uri instead", field="keep_sources"
        )
    if len(table.schema) > MAX_FIELDS:
        raise InvalidInput(
            f"on Milvus, a schema has at most {MAX_FIELDS} fields, not {len(table.schema)}", field="schema"
        )
    kinds = milvus.DataType
    text = {"datatype": kinds.VARCHAR, "max_length": MAX_TEXT_BYTES}
    many: dict[str, Any] = {"datatype": kinds.ARRAY, "max_capacity": MAX_LIST}
    written: dict[PayloadType, dict[str, Any]] = {
        PayloadType.STRING: text,
        PayloadType.INT: {"datatype": kinds.INT64},
        PayloadType.DOUBLE: {"datatype": kinds.DOUBLE},
        PayloadType.BOOL: {"datatype": kinds.BOOL},
        PayloadType.TIMESTAMP: {"datatype": kinds.INT64},
        PayloadType.STRING_LIST: many | {"element_type": kinds.VARCHAR, "max_length": MAX_TEXT_BYTES},
    }
    schema.add_field("id", kinds.VARCHAR, is_primary=True, max_length=MAX_ID_BYTES)
    schema.add_field("embedding", kinds.FLOAT_VECTOR, dim=table.dim)
    for name, column in columns(table.schema).items():
        schema.add_field(column, **written[table.schema[name]])
    schema.add_field("has", **many, element_type=kinds.INT64)
    schema.add_field("source_uri", **text)
    schema.add_field("lot", kinds.INT64)
    if table.stamped:
        schema.add_field(STAMP, kinds.INT64)


def column_names(table: TableSpec, *, with_embeddings: bool = False) -> list[str]:
    """The columns to read for a point."""
    names = ["id", *columns(table.schema).values(), "has", "source_uri"]
    names += [STAMP] if table.stamped else []
    return names + (["embedding"] if with_embeddings else [])


def to_row(table: TableSpec, point: Point) -> dict[str, Any]:
    """A point with its embedding as a row."""
    row: dict[str, Any] = {
        "id": point.id,
        "embedding": point.embedding,
        "has": [i for i, name in enumerate(table.schema) if name in point.payload],
        "source_uri": point.source_uri,
        "lot": lot(point.id),
    }
    for name, column in columns(table.schema).items():
        value = point.payload.get(name)
        row[column] = EMPTY[table.schema[name]] if value is None else plain(value)
    if table.stamped:
        row[STAMP] = point.stamp
    return row


def plain(value: PayloadValue) -> Any:
    """A payload value in the type of its column."""
    return to_microseconds(value) if isinstance(value, dt.datetime) else value


def to_point(table: TableSpec, row: Mapping[str, Any]) -> Point:
    """A row as a point, with the columns that were read."""
    embedding = row.get("embedding")
    vector = None if embedding is None else np.asarray(embedding, np.float32)
    return Point(row["id"], payload(table, row), vector, None, row["source_uri"], int(row.get(STAMP, 0)))


def payload(table: TableSpec, row: Mapping[str, Any]) -> Payload:
    """The payload in a row."""
    values: Payload = {}
    numbers = set(row["has"])
    for number, (name, kind) in enumerate(table.schema.items()):
        if number in numbers:
            value = row[f"p{number}"]
            if kind is PayloadType.TIMESTAMP:
                value = from_microseconds(value)
            values[name] = list(value) if kind is PayloadType.STRING_LIST else value
    return values


def lot(id: str) -> int:
    """A pseudorandom number below LOTS, always the same for an id."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=4).digest(), "big")


def check(point: Point) -> None:
    """Raises InvalidPayload for values that Milvus cannot hold."""
    for name, value in point.payload.items():
        texts: Sequence[str] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if len(texts) > MAX_LIST:
            raise InvalidPayload(
                f"on Milvus, a list has at most {MAX_LIST:,} items, not {len(texts):,}",
                field=f'payload["{name}"]',
            )
        if any(len(text.encode()) > MAX_TEXT_BYTES for text in texts):
            raise InvalidPayload(
                f"on Milvus, a text has at most {MAX_TEXT_BYTES:,} bytes of UTF-8", field=f'payload["{name}"]'
            )


def point_bytes(point: Point) -> int:
    """Approximate bytes of a point in a message."""
    texts = 0
    for value in point.payload.values():
        texts += sum(map(len, value)) * 4 if isinstance(value, list) else 4 * len(str(value))
    return 128 + texts + 4 * len(point.id) + (0 if point.embedding is None else point.embedding.nbytes)


def id_in(ids: Sequence[str]) -> str:
    """The condition that a row's id is one of these."""
    return f"id in [{', '.join(map(literal, ids))}]"
