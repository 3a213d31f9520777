"""Which indexes a table of points gets, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.values import PayloadType, TableSpec

VECTOR_INDEX_FROM_ROWS = 20_000
"""From here on an approximate index is faster than comparing with every point (40 ms at 100,000)."""
ID_INDEX_FROM_ROWS = 5_000

HNSW, BTREE = "IVF_HNSW_SQ", "BTREE"
PAYLOAD_INDEXES = {PayloadType.BOOL: "BITMAP", PayloadType.STRING_LIST: "LABEL_LIST"}
"""Those that are not btrees."""


@dataclass(frozen=True)
class Index:
    """An index that a table gets when it has `from_rows` rows, of a kind that Lance knows."""

    column: str
    from_rows: int
    kind: str
    options: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_vector(self) -> bool:
        """Whether it is one of embeddings."""
        return self.kind == HNSW

    def create(self, dataset: Any) -> None:
        """Makes it, of the rows of this version."""
        if self.is_vector:
            # One graph, however many points: partitions lose text queries.
            dataset.create_index(self.column, self.kind, metric="cosine", num_partitions=1, **self.options)
        else:
            dataset.create_scalar_index(self.column, self.kind)


def indexes(spec: TableSpec) -> list[Index]:
    """The indexes of a table, each made when it pays; the vector index, which takes longest, last."""
    found = [Index("id", ID_INDEX_FROM_ROWS, BTREE)]
    for column, kind in zip(columns(spec.schema).values(), spec.schema.values(), strict=True):
        found.append(Index(column, VECTOR_INDEX_FROM_ROWS, PAYLOAD_INDEXES.get(kind, BTREE)))
    if not spec.index.exact:
        chosen = {"m": spec.index.m, "ef_construction": spec.index.ef_construction}
        given = {name: value for name, value in chosen.items() if value}
        found.append(Index("embedding", VECTOR_INDEX_FROM_ROWS, HNSW, given))
    return found
