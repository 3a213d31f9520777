"""What an engine does. All methods are coroutines and may be called side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clipserve_gateway.types import CollectionSpec, Filter, Floats, Hit, Point


class Engine(Protocol):
    """Collections of points, kept durably.

    A write that has returned survives a crash of the process. Every method raises StorageFailed where the
    engine cannot read or write; those that take a collection's name raise CollectionNotFound.
    """

    async def open(self) -> None:
        """Gets ready; the other methods do so by themselves, at the cost of the first call's time."""
        ...

    async def create(self, spec: CollectionSpec) -> None:
        """Makes an empty collection; CollectionExists if the name is taken."""
        ...

    async def get(self, name: str) -> CollectionSpec:
        """The collection of that name."""
        ...

    async def collections(self) -> list[CollectionSpec]:
        """All collections, by name."""
        ...

    async def drop(self, name: str) -> None:
        """Removes a collection with all its points."""
        ...

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        """Writes points with distinct ids and normalized embeddings, replacing those whose ids exist."""
        ...

    async def delete(self, name: str, ids: Sequence[str]) -> int:
        """Removes points; how many of the ids existed."""
        ...

    async def fetch(self, name: str, ids: Sequence[str], *, with_embeddings: bool) -> list[Point]:
        """The points that exist, in the order of `ids`."""
        ...

    async def search(
        self, name: str, embedding: Floats, *, top_k: int, filter: Filter | None, with_payload: bool
    ) -> list[Hit]:
        """The nearest points to a normalized float32 [D], best first; equal scores in the order of ids."""
        ...

    async def count(self, name: str, filter: Filter | None) -> int:
        """Points, all or those that meet the filter."""
        ...

    async def close(self) -> None:
        """Finishes what is under way."""
        ...
