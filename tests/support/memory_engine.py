"""An engine that compares with every point: what the real ones are held against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from clipserve_gateway.errors import CollectionExists, CollectionNotFound
from clipserve_gateway.types import (
    And,
    CollectionSpec,
    Eq,
    Filter,
    Floats,
    Hit,
    In,
    Not,
    Or,
    Payload,
    Point,
    Range,
)


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

    def __init__(self) -> None:
        self._specs: dict[str, CollectionSpec] = {}
        self._points: dict[str, dict[str, Point]] = {}

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def create(self, spec: CollectionSpec) -> None:
        if spec.name in self._specs:
            raise CollectionExists(spec.name, field="name")
        self._specs[spec.name], self._points[spec.name] = spec, {}

    async def get(self, name: str) -> CollectionSpec:
        if name not in self._specs:
            raise CollectionNotFound(name, field="collection")
        return self._specs[name]

    async def collections(self) -> list[CollectionSpec]:
        return [self._specs[name] for name in sorted(self._specs)]

    async def drop(self, name: str) -> None:
        await self.get(name)
        del self._specs[name], self._points[name]

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        await self.get(name)
        self._points[name] |= {point.id: point for point in points}

    async def delete(self, name: str, ids: Sequence[str]) -> int:
        await self.get(name)
        return sum(self._points[name].pop(id, None) is not None for id in set(ids))

    async def fetch(self, name: str, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        await self.get(name)
        found = [self._points[name][id] for id in ids if id in self._points[name]]
        return [Point(it.id, it.payload, it.embedding if with_embeddings else None) for it in found]

    async def search(
        self, name: str, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        await self.get(name)
        points = [it for it in self._points[name].values() if filter is None or matches(filter, it.payload)]
        hits = [
            Hit(it.id, float(np.dot(it.embedding, embedding)), it.payload if with_payload else {})
            for it in points
        ]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:top_k]

    async def count(self, name: str, filter: Filter | None) -> int:
        await self.get(name)
        return sum(filter is None or matches(filter, it.payload) for it in self._points[name].values())

    async def close(self) -> None:
        """Nothing is under way."""
