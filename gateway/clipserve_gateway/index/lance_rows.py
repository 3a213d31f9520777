"""Points as Arrow tables and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipserve_gateway.index.lance_filter import columns, from_microseconds, to_microseconds
from clipserve_gateway.index.lance_write import PRIMARY_KEY
from clipserve_gateway.types import CollectionSpec, Floats, Payload, PayloadType, Point

ARROW_TYPES = {
    PayloadType.STRING: pa.string(),
    PayloadType.INT: pa.int64(),
    PayloadType.DOUBLE: pa.float64(),
    PayloadType.BOOL: pa.bool_(),
    PayloadType.TIMESTAMP: pa.int64(),
    PayloadType.STRING_LIST: pa.list_(pa.string()),
}


def arrow_schema(spec: CollectionSpec) -> pa.Schema:
    """Columns: id, embedding, and one for each payload field (null where a point has no value)."""
    fields = [
        pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("embedding", pa.list_(pa.float32(), spec.dim), nullable=False),
    ]
    names = columns(spec.schema)
    return pa.schema(
        fields + [pa.field(names[name], ARROW_TYPES[kind]) for name, kind in spec.schema.items()]
    )


def to_arrow(spec: CollectionSpec, points: Sequence[Point]) -> pa.Table:
    """Points with embeddings as rows."""
    matrix = np.stack([point.embedding for point in points if point.embedding is not None])
    arrays: list[pa.Array] = [
        pa.array([point.id for point in points], pa.string()),
        pa.FixedSizeListArray.from_arrays(pa.array(matrix.astype(np.float32).reshape(-1)), spec.dim),
    ]
    for name, kind in spec.schema.items():
        values: list[Any] = [point.payload.get(name) for point in points]
        if kind is PayloadType.TIMESTAMP:
            values = [None if value is None else to_microseconds(value) for value in values]
        arrays.append(pa.array(values, ARROW_TYPES[kind]))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(spec))


def payloads(spec: CollectionSpec, table: pa.Table) -> list[Payload]:
    """The payload of each row."""
    found: list[Payload] = [{} for _ in range(len(table))]
    for name, column in columns(spec.schema).items():
        if column not in table.column_names:
            continue
        moment = spec.schema[name] is PayloadType.TIMESTAMP
        for payload, value in zip(found, table[column].to_pylist(), strict=True):
            if value is not None:
                payload[name] = from_microseconds(value) if moment else value
    return found


def embeddings(table: pa.Table, dim: int) -> Floats:
    """The embedding column: float32 [rows, dim]."""
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), dim).astype(np.float32, copy=False)
