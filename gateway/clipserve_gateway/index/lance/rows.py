"""Converts points to Arrow tables and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.lance.commits import PRIMARY_KEY
from clipserve_gateway.index.timestamps import from_microseconds, to_microseconds
from clipserve_gateway.index.values import Hit, Payload, PayloadType, Point, Source, TableSpec
from clipserve_gateway.types import Floats

ARROW_TYPES = {
    PayloadType.STRING: pa.string(),
    PayloadType.INT: pa.int64(),
    PayloadType.DOUBLE: pa.float64(),
    PayloadType.BOOL: pa.bool_(),
    PayloadType.TIMESTAMP: pa.int64(),
    PayloadType.STRING_LIST: pa.list_(pa.string()),
}
SOURCE_COLUMNS = ["source_kind", "source"]
STAMP = "stamp"


def arrow_schema(spec: TableSpec) -> pa.Schema:
    """Columns: id, embedding, one for each payload field (null if a point has no value), source_uri.

    A table that keeps sources also has source_kind and source (null if a point has none). A table with stamps
    also has stamp.
    """
    names = columns(spec.schema)
    fields = [
        pa.field("id", pa.string(), nullable=False, metadata=PRIMARY_KEY),
        pa.field("embedding", pa.list_(pa.float32(), spec.dim), nullable=False),
        *(pa.field(names[name], ARROW_TYPES[kind]) for name, kind in spec.schema.items()),
        pa.field("source_uri", pa.string(), nullable=False),
    ]
    if spec.keep_sources:
        fields += [pa.field("source_kind", pa.string()), pa.field("source", pa.large_binary())]
    if spec.stamped:
        fields.append(pa.field(STAMP, pa.int64(), nullable=False))
    return pa.schema(fields)


def column_names(spec: TableSpec, *, with_embeddings: bool = False, with_sources: bool = False) -> list[str]:
    """The columns to read for a point; embeddings and sources only if requested."""
    names = ["id", *columns(spec.schema).values(), "source_uri"]
    names += ["embedding"] if with_embeddings else []
    names += [STAMP] if spec.stamped else []
    return names + (SOURCE_COLUMNS if with_sources and spec.keep_sources else [])


def to_arrow(spec: TableSpec, points: Sequence[Point]) -> pa.Table:
    """Points, which must have embeddings, as rows."""
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
    arrays.append(pa.array([point.source_uri for point in points], pa.string()))
    if spec.keep_sources:
        sources = [point.source for point in points]
        arrays.append(pa.array([source and source.kind for source in sources], pa.string()))
        arrays.append(pa.array([source and source.content for source in sources], pa.large_binary()))
    if spec.stamped:
        arrays.append(pa.array([point.stamp for point in points], pa.int64()))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(spec))


def to_points(spec: TableSpec, table: pa.Table) -> list[Point]:
    """Rows as points, with the columns that were read."""
    rows = zip(
        table["id"].to_pylist(),
        payloads(spec, table),
        embeddings(table, spec.dim) if "embedding" in table.column_names else [None] * len(table),
        sources(table),
        table["source_uri"].to_pylist(),
        table[STAMP].to_pylist() if STAMP in table.column_names else [0] * len(table),
        strict=True,
    )
    return [Point(*row) for row in rows]


def scores(table: pa.Table) -> Floats:
    """The cosine of each row of a search: float32 [rows], −1 … 1."""
    cosines: Floats = np.clip(1 - table["_distance"].to_numpy().astype(np.float32), -1, 1)
    return cosines


def distance_below(score: float) -> float:
    """The least distance of points with a lower score, given how `scores` rounds."""
    lower = np.nextafter(np.float32(score), np.float32(-2))
    distance = np.float32(1 - (float(score) + float(lower)) / 2)
    while np.float32(1) - distance >= np.float32(score):
        distance = np.nextafter(distance, np.float32(3))
    return float(distance)


def to_hits(spec: TableSpec, table: pa.Table) -> list[Hit]:
    """The rows of a search, best first; equal scores in the order of ids."""
    rows = zip(
        table["id"].to_pylist(),
        scores(table).tolist(),
        payloads(spec, table),
        embeddings(table, spec.dim) if "embedding" in table.column_names else [None] * len(table),
        strict=True,
    )
    return sorted((Hit(*row) for row in rows), key=lambda hit: (-hit.score, hit.id))


def payloads(spec: TableSpec, table: pa.Table) -> list[Payload]:
    """The payload of each row."""
    rows: list[Payload] = [{} for _ in range(len(table))]
    for name, column in columns(spec.schema).items():
        if column not in table.column_names:
            continue
        is_timestamp = spec.schema[name] is PayloadType.TIMESTAMP
        for payload, value in zip(rows, table[column].to_pylist(), strict=True):
            if value is not None:
                payload[name] = from_microseconds(value) if is_timestamp else value
    return rows


def sources(table: pa.Table) -> list[Source | None]:
    """The source of each row; None if it was not read or the point has none."""
    if "source" not in table.column_names:
        return [None] * len(table)
    kinds, contents = table["source_kind"].to_pylist(), table["source"].to_pylist()
    return [
        None if kind is None else Source(kind, content) for kind, content in zip(kinds, contents, strict=True)
    ]


def embeddings(table: pa.Table, dim: int) -> Floats:
    """The embedding column: float32 [rows, dim]."""
    flat = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(table), dim).astype(np.float32, copy=False)


def point_bytes(point: Point) -> int:
    """Approximate bytes of a point on disk."""
    texts = sum(len(value) for value in point.payload.values() if isinstance(value, str))
    return (
        64
        + texts
        + 16 * len(point.payload)
        + (point.embedding.nbytes if point.embedding is not None else 0)
        + (len(point.source.content) if point.source else 0)
    )
