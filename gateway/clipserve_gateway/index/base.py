"""What an engine does: tables of points, and a small store of documents beside them.

Engines know nothing of collections, models or label sets; the catalog makes these out of tables and
documents. All methods are coroutines and may be called side by side, from several processes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clipserve_gateway.index.values import Filter, Hit, Point, TableSpec, TableStatus
from clipserve_gateway.types import Floats


@dataclass(frozen=True)
class Document:
    """A value under a key; `version` is 1 at first, and grows by one with each change."""

    key: str
    value: bytes
    version: int


class Engine(Protocol):
    """Tables and documents, kept durably.

    A write that has returned survives a crash of the process, and every read that begins afterwards sees it;
    `search` may lag behind where `consistent` is False. Every method raises StorageFailed where the engine
    cannot read or write; those that take a table raise TableNotFound where it is gone.
    """

    @property
    def name(self) -> str:
        """The engine's name, e.g. `lancedb`."""
        ...

    @property
    def keeps_sources(self) -> bool:
        """Whether points can be stored with their sources."""
        ...

    async def open(self) -> None:
        """Gets ready; the other methods do so by themselves, at the cost of the first call's time."""
        ...

    async def close(self) -> None:
        """Finishes what is under way."""
        ...

    async def get_document(self, key: str) -> Document | None:
        """The document under a key (1–256 characters)."""
        ...

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        """Writes the document if its version still is `version` (0: if there is none); whether it was."""
        ...

    async def delete_document(self, key: str, *, version: int) -> bool:
        """Deletes the document if its version still is `version`; whether it was."""
        ...

    async def documents(self, prefix: str) -> list[Document]:
        """The documents whose keys begin with `prefix`, by key."""
        ...

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        """Makes an empty table, which keeps the facts beside its points."""
        ...

    async def drop_table(self, table: str) -> None:
        """Removes a table with all its points; nothing happens if it is gone already."""
        ...

    async def tables(self) -> list[str]:
        """Names of all tables."""
        ...

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        """Gives facts to a table that was made without, where the engine can."""
        ...

    async def table_facts(self, table: str) -> bytes:
        """The facts that a table was made with; empty if there were none."""
        ...

    def check(self, table: TableSpec, point: Point) -> None:
        """Raises InvalidInput for a point that this engine cannot hold, though the contract allows it."""
        ...

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        """Writes points with distinct ids and normalized embeddings.

        Points whose ids exist are replaced whole, or stay as they are where `replace` is False.
        """
        ...

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        """Removes points; how many of the ids existed."""
        ...

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        """Removes the points that meet the filter; how many there were."""
        ...

    async def fetch(
        self,
        table: TableSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        """The points that exist, in the order of `ids`."""
        ...

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
        """Up to `limit` points whose ids follow `after`, in the order of their ids (by their UTF-8 bytes)."""
        ...

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
        """The nearest points to a normalized float32 [D], best first; equal scores in the order of ids.

        With `below`, above -1 to 1, those of the points that have a lower score.
        """
        ...

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        """Embeddings of up to `limit` points, spread over the table: float32 [n ≤ limit, D]."""
        ...

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        """Points, all or those that meet the filter."""
        ...

    async def status(self, table: TableSpec) -> TableStatus:
        """How many points there are, and how far their index has come."""
        ...

    async def purge(self, table: TableSpec) -> None:
        """Takes points that were deleted or replaced out of all files now, as far as the engine can."""
        ...

    async def purge_documents(self) -> None:
        """The same for documents."""
        ...

    async def optimize(self, table: TableSpec) -> None:
        """Does now what otherwise is done in time: indexes that are due are built when it returns."""
        ...
