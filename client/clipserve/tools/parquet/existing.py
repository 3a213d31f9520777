"""Finds points that an import would change, before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from clipserve.client import Client
from clipserve.tools.parquet.read import PointFile
from clipserve.types import Point, StoredPoint

ROWS = 1_024
TOLERANCE = 1e-5
"""Largest difference between numbers of embeddings that count as equal."""
LISTED_NAMES = 3


@dataclass
class Existing:
    """Points of the collection with ids of the file."""

    others: int = 0
    """Points that an import would change."""
    names: list[str] = field(default_factory=list)
    """Ids of the first LISTED_NAMES of the others."""


def compare(
    client: Client,
    collection: str,
    file: PointFile,
    schema: Mapping[str, str],
    *,
    with_embeddings: bool,
    progress: Callable[[int], None],
) -> Existing:
    """Looks up the ids of all rows. `progress` is called with the number of compared rows."""
    existing = Existing()
    compared = 0
    seen: set[str] = set()
    for rows in file.batches(ROWS, dict(schema), with_embeddings=with_embeddings):
        points: dict[str, Point] = {}
        for row in rows:
            # If rows have the same id, an import writes the first.
            if row.point is not None and row.point.id not in seen:
                seen.add(row.point.id)
                points[row.point.id] = row.point
        stored = (
            client.get_points(collection, list(points), with_embeddings=with_embeddings) if points else ()
        )
        for point in stored:
            if not is_same(points[point.id], point, schema):
                existing.others += 1
                existing.names += [point.id] if len(existing.names) < LISTED_NAMES else []
        compared += len(rows)
        progress(compared)
    return existing


def is_same(point: Point, stored: StoredPoint, schema: Mapping[str, str]) -> bool:
    """Whether the stored point has the same payload, source_uri and embedding."""
    payload = {name: value for name, value in stored.payload.items() if name in schema}
    if dict(point.payload) != payload or point.source_uri != stored.source_uri:
        return False
    if point.embedding is None or stored.embedding is None:
        return True
    given = np.asarray(point.embedding, np.float64)
    length = np.linalg.norm(given)
    if given.shape != stored.embedding.shape or not length:
        return False
    return bool(np.abs(given / length - stored.embedding).max() <= TOLERANCE)
