"""Searches as Milvus takes them, and what it finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from clipserve_gateway.index.milvus.rows import payload
from clipserve_gateway.index.values import Hit, TableSpec

EF_SEARCH, EF_FILTERED = 128, 256


def search_params(table: TableSpec, wanted: int, below: float | None, *, filtered: bool) -> dict[str, Any]:
    """Parameters of a search for the nearest; with `below`, a float32, of points with a lower score."""
    ef = max(table.index.ef_search or (EF_FILTERED if filtered else EF_SEARCH), wanted)
    params: dict[str, Any] = {} if table.index.exact else {"ef": ef}
    if below is not None:
        # Milvus takes radius < score <= range_filter.
        params |= {"radius": -2.0, "range_filter": float(np.nextafter(np.float32(below), np.float32(-2)))}
    return {"metric_type": "COSINE", "params": params}


def to_hits(table: TableSpec, found: Sequence[Mapping[str, Any]], fields: Collection[str]) -> list[Hit]:
    """What a search found, with those of the columns that it was asked for."""
    return [
        Hit(
            hit["id"],
            # Rounding may lead a hair beyond.
            float(np.clip(np.float32(hit["distance"]), -1, 1)),
            payload(table, hit["entity"]) if "has" in fields else {},
            np.asarray(hit["entity"]["embedding"], np.float32) if "embedding" in fields else None,
        )
        for hit in found
    ]
