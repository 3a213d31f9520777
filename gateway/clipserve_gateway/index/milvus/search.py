"""Parameters and results of Milvus's searches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from clipserve_gateway.index.milvus.rows import payload
from clipserve_gateway.index.values import Hit, TableSpec

EF_SEARCH, EF_FILTERED = 128, 256


def search_params(table: TableSpec, limit: int, below: float | None, *, filtered: bool) -> dict[str, Any]:
    """Parameters of a search for `limit` points; with `below`, a float32, only points with a lower score."""
    ef = max(table.index.ef_search or (EF_FILTERED if filtered else EF_SEARCH), limit)
    params: dict[str, Any] = {} if table.index.exact else {"ef": ef}
    if below is not None:
        # Milvus returns scores with radius < score <= range_filter.
        params |= {"radius": -2.0, "range_filter": float(np.nextafter(np.float32(below), np.float32(-2)))}
    return {"metric_type": "COSINE", "params": params}


def to_hits(table: TableSpec, rows: Sequence[Mapping[str, Any]], fields: Collection[str]) -> list[Hit]:
    """The rows of a search as hits, with the columns in `fields`."""
    return [
        Hit(
            row["id"],
            # Rounding may lead slightly out of range.
            float(np.clip(np.float32(row["distance"]), -1, 1)),
            payload(table, row["entity"]) if "has" in fields else {},
            np.asarray(row["entity"]["embedding"], np.float32) if "embedding" in fields else None,
        )
        for row in rows
    ]
