"""Which indexes a table of points gets, and from how many rows on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.values import PayloadType, TableSpec

VECTOR_INDEX_FROM_ROWS = 20_000
"""With more rows, an approximate index is faster than comparing with every point (40 ms at 100,000)."""
ID_INDEX_FROM_ROWS = 5_000

HNSW, BTREE = "IVF_HNSW_SQ", "BTREE"
PAYLOAD_INDEXES = {PayloadType.BOOL: "BITMAP", PayloadType.STRING_LIST: "LABEL_LIST"}
"""Kinds of index by type of field; all others get a B-tree."""


@dataclass(frozen=True)
class Index:
    """An index that a table gets once it has `from_rows` rows; `kind` is Lance's name."""

    column: str
    from_rows: int
    kind: str
    options: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_vector(self) -> bool:
        """Whether it indexes embeddings."""
        return self.kind == HNSW

    def create(self, dataset: Any) -> None:
        """Builds it from the rows of this version."""
        if self.is_vector:
            # One graph for any number of points: with partitions, text queries lose recall.
            dataset.create_index(self.column, self.kind, metric="cosine", num_partitions=1, **self.options)
        else:
            dataset.create_scalar_index(self.column, self.kind)


def indexes(spec: TableSpec) -> list[Index]:
    """The indexes of a table. The vector index takes longest and comes last."""
    wanted = [Index("id", ID_INDEX_FROM_ROWS, BTREE)]
    for name, column in columns(spec.schema).items():
        wanted.append(Index(column, VECTOR_INDEX_FROM_ROWS, PAYLOAD_INDEXES.get(spec.schema[name], BTREE)))
    if not spec.index.exact:
        options = {"m": spec.index.m, "ef_construction": spec.index.ef_construction}
        chosen = {name: value for name, value in options.items() if value}
        wanted.append(Index("embedding", VECTOR_INDEX_FROM_ROWS, HNSW, chosen))
    return wanted
