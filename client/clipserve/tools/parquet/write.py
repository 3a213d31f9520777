"""Writes points to a file, row group by row group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipserve.tools.parquet.layout import EMBEDDING, PAYLOAD, FileFacts, arrow_schema
from clipserve.types import StoredPoint

GROUP_ROWS = 8_192
GROUP_BYTES = 64 * 1024 * 1024
"""Limits of a row group: rows, and bytes of embeddings and sources."""


@contextmanager
def writing(path: Path, facts: FileFacts) -> Iterator[PointWriter]:
    """A writer of a new file, which gets its name when it is complete. A failure leaves no file."""
    schema = arrow_schema(facts)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with (
            unfinished.open("wb") as file,
            pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=dictionaries(facts)) as parquet,
        ):
            writer = PointWriter(parquet, facts, schema)
            yield writer
            writer.flush()
        with unfinished.open("rb") as whole:
            os.fsync(whole.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def dictionaries(facts: FileFacts) -> list[str]:
    """Columns with many equal values."""
    return [PAYLOAD + name for name, kind in facts.schema.items() if kind == "string"]


@dataclass(eq=False)
class PointWriter:
    """Writes points. Keeps at most one row group in memory."""

    parquet: Any
    facts: FileFacts
    schema: Any
    _points: list[StoredPoint] = field(default_factory=list)
    _bytes: int = 0

    def add(self, point: StoredPoint) -> None:
        """Adds a point, which must have its embedding."""
        self._points.append(point)
        self._bytes += 4 * self.facts.dim + len(point.image or point.text or "") * self.facts.sources
        if len(self._points) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._points:
            self.parquet.write_batch(self._batch())
        self._points, self._bytes = [], 0

    def _batch(self) -> Any:
        points = self._points
        embeddings = np.array([point.embedding for point in points], np.float32)
        columns: list[Any] = [
            pa.array([point.id for point in points], pa.string()),
            pa.FixedSizeListArray.from_arrays(
                pa.array(embeddings.ravel()), type=self.schema.field(EMBEDDING).type
            ),
        ]
        for name in self.facts.schema:
            kind = self.schema.field(PAYLOAD + name).type
            columns.append(pa.array([point.payload.get(name) for point in points], kind))
        columns.append(pa.array([point.source_uri or None for point in points], pa.string()))
        if self.facts.sources:
            columns.append(pa.array([source_of(point) for point in points], pa.binary()))
            columns.append(pa.array([source_kind(point) for point in points], pa.string()))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def source_of(point: StoredPoint) -> bytes | None:
    return point.text.encode() if point.text is not None else point.image


def source_kind(point: StoredPoint) -> str | None:
    if point.text is not None:
        return "text"
    return "image" if point.image is not None else None
