"""The protocol of engines: tables of points, and a small store of documents.

Engines do not know collections, models or label sets: the catalog builds these from tables and documents. All
methods but `check` are coroutines and may run concurrently, also in several processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from clipserve_gateway.index.values import Filter, Hit, Point, TableSpec, TableStatus
from clipserve_gateway.types import Floats


@dataclass(frozen=True)
class Document:
    """A value under a key. `version` is 1 at first and grows by one with each change."""

    key: str
    value: bytes
    version: int


class Engine(Protocol):
    """Durable tables and documents.

    A write that has returned survives a crash of the process, and every read that begins afterwards sees it;
    only `search` may lag behind unless `consistent` is set. Every method raises StorageFailed if the engine
    cannot read or write; methods with a table raise TableNotFound if it does not exist. What is said here
    also holds for methods without a docstring in engines, and in the classes that they are made of.
    """

    @property
    def name(self) -> str:
        """The engine's name, e.g. `lancedb`."""

    @property
    def keeps_sources(self) -> bool:
        """Whether points can be stored with their sources."""

    async def open(self) -> None:
        """Connects or opens files. Otherwise the first call of another method does this and takes longer."""

    async def close(self) -> None:
        """Waits for work in progress and releases all resources."""

    async def get_document(self, key: str) -> Document | None:
        """The document under a key (1–256 characters)."""

    async def put_document(self, key: str, value: bytes, *, version: int) -> bool:
        """Writes the document and returns True if its version is `version`; 0 means that there is none."""

    async def delete_document(self, key: str, *, version: int) -> bool:
        """Deletes the document and returns True if its version is `version`."""

    async def documents(self, prefix: str) -> list[Document]:
        """The documents whose keys begin with `prefix`, by key."""

    async def create_table(self, table: TableSpec, facts: bytes = b"") -> None:
        """Creates an empty table, and stores the facts with it."""

    async def drop_table(self, table: str) -> None:
        """Removes a table with all its points. Does nothing if it does not exist."""

    async def tables(self) -> list[str]:
        """Names of all tables."""

    async def put_table_facts(self, table: str, facts: bytes) -> None:
        """Stores facts with a table that was created without, if the engine supports that."""

    async def table_facts(self, table: str) -> bytes:
        """The facts of a table; empty if there are none."""

    def check(self, table: TableSpec, point: Point) -> None:
        """Raises InvalidInput for a point that the API allows but this engine cannot store."""

    async def upsert(self, table: TableSpec, points: Sequence[Point], *, replace: bool = True) -> None:
        """Writes points with distinct ids and normalized embeddings.

        Existing points are replaced whole; if `replace` is False, they stay as they are.
        """

    async def delete(self, table: TableSpec, ids: Sequence[str]) -> int:
        """Removes points, and returns how many of the ids existed."""

    async def delete_where(self, table: TableSpec, filter: Filter) -> int:
        """Removes the points that match the filter, and returns their number."""

    async def fetch(
        self,
        table: TableSpec,
        ids: Sequence[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> list[Point]:
        """The existing points of `ids`, in this order."""

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
        """The points nearest to a normalized float32 [D], best first; equal scores in the order of ids.

        With `below` (-1 < below ≤ 1), only points with a lower score.
        """

    async def sample(self, table: TableSpec, limit: int) -> Floats:
        """Embeddings of up to `limit` points, spread over the table: float32 [n ≤ limit, D]."""

    async def count(self, table: TableSpec, filter: Filter | None = None) -> int:
        """Number of points, or of those that match the filter."""

    async def status(self, table: TableSpec) -> TableStatus:
        """Number of points, and the state of their vector index."""

    async def purge(self, table: TableSpec) -> None:
        """Removes deleted and replaced points from all files now, as far as the engine can."""

    async def purge_documents(self) -> None:
        """Removes deleted and replaced documents from all files now, as far as the engine can."""

    async def optimize(self, table: TableSpec) -> None:
        """Does all maintenance now: when this returns, all indexes that the table needs are built."""
