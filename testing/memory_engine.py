"""An engine that compares with every point: what the real ones are held against."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from clipserve_gateway.errors import TableNotFound
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.values import (
    And,
    Eq,
    Filter,
    Hit,
    In,
    IndexState,
    Not,
    Or,
    Payload,
    Point,
    Range,
    TableSpec,
    TableStatus,
)
from clipserve_gateway.types import Floats


def matches(filter: Filter, payload: Payload) -> bool:
    """Whether a payload meets a filter; a comparison with a field that is not there is false."""
    if isinstance(filter, And):
        return all(matches(part, payload) for part in filter.filters)
    if isinstance(filter, Or):
        return any(matches(part, payload) for part in filter.filters)
    if isinstance(filter, Not):
        return not matches(filter.filter, payload)
    if filter.field not in payload:
        return False
    value = payload[filter.field]
    if isinstance(filter, Range):
        bounds = (
            filter.gt is None or value > filter.gt,
            filter.gte is None or value >= filter.gte,
            filter.lt is None or value < filter.lt,
            filter.lte is None or value <= filter.lte,
        )
        return all(bounds)
    wanted = filter.values if isinstance(filter, In) else (filter.value,)
    assert isinstance(filter, Eq | In)
    if isinstance(value, list):
        return any(item in value for item in wanted)
    return value in wanted


class MemoryEngine:
    """See Engine."""

    name = "memory"
    keeps_sources = True

    def __init__(self) -> None:
        self._points: dict[str, dict[str, Point]] = {}
        self._documents: dict[str, Document] = {}
        self._facts: dict[str, bytes] = {}

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def close(self) -> None:
        """Nothing is under way."""

    async def get_document(self, key: str) -> Document | None:
        return self._documents.get(key)

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        if self._version(key) != version:
            return False
        self._documents[key] = Document(key, value, version + 1)
        return True

    async def delete_document(self, key: str, *, version: int) -> bool:
        if key not in self._documents or self._version(key) != version:
            return False
        del self._documents[key]
        return True

    async def documents(self, prefix: str) -> list[Document]:
        return [self._documents[key] for key in sorted(self._documents) if key.startswith(prefix)]

    def _version(self, key: str) -> int:
        return self._documents[key].version if key in self._documents else 0

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        self._points[table.name] = {}
        self._facts[table.name] = facts

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        self._facts[table] = facts

    async def table_facts(self, table: str) -> bytes:
        return self._facts[table]

    async def drop_table(self, table: str) -> None:
        self._points.pop(table, None)

    async def tables(self) -> list[str]:
        return sorted(self._points)

    def _table(self, table: TableSpec) -> dict[str, Point]:
        if table.name not in self._points:
            raise TableNotFound(f"there is no table {table.name!r}")
        return self._points[table.name]

    def check(self, table: TableSpec, point: Point) -> None:
        """It holds whatever the contract allows."""

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        there = self._table(table)
        there.update({it.id: it for it in points if replace or it.id not in there})

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        there = self._table(table)
        return sum(there.pop(id, None) is not None for id in set(ids))

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        return await self.delete(table, [it.id for it in self._matching(table, filter)])

    def _matching(self, table: TableSpec, filter: Filter | None) -> list[Point]:
        found = self._table(table).values()
        return [it for it in found if filter is None or matches(filter, it.payload)]

    async def fetch(
        self,
        table: TableSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        there = self._table(table)
        return [shown(there[id], with_embeddings, with_sources) for id in ids if id in there]

    async def scroll(
        self,
        table: TableSpec,
        *,
        after: str,
        limit: int,
        filter: Filter | None = None,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        found = [it for it in self._matching(table, filter) if it.id.encode() > after.encode()]
        found.sort(key=lambda it: it.id.encode())
        return [shown(it, with_embeddings, with_sources) for it in found[:limit]]

    async def search(
        self,
        table: TableSpec,
        embedding: Floats,
        *,
        top_k: int,
        filter: Filter | None = None,
        with_payload: bool = True,
        with_embeddings: bool = False,
        below: float | None = None,
        consistent: bool = False,
    ) -> list[Hit]:
        hits = [
            Hit(
                it.id,
                float(np.dot(it.embedding, embedding)),
                it.payload if with_payload else {},
                it.embedding if with_embeddings else None,
            )
            for it in self._matching(table, filter)
        ]
        hits = [hit for hit in hits if below is None or hit.score < below]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        points = list(self._table(table).values())
        step = max(1, -(-len(points) // limit))
        rows = [it.embedding for it in points[::step]]
        return np.stack(rows) if rows else np.empty((0, table.dim), np.float32)

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        return len(self._matching(table, filter))

    async def status(self, table: TableSpec) -> TableStatus:
        return TableStatus(len(self._table(table)), 0, IndexState.NONE)

    async def purge(self, table: TableSpec) -> None:
        self._table(table)

    async def purge_documents(self) -> None:
        """Nothing is kept."""

    async def optimize(self, table: TableSpec) -> None:
        self._table(table)


def shown(point: Point, with_embeddings: bool, with_sources: bool) -> Point:
    """The point without what was not asked for."""
    point = point if with_embeddings else dataclasses.replace(point, embedding=None)
    return point if with_sources else dataclasses.replace(point, source=None)
