"""Copies the tables of a LanceDB store for backups, each whole and at one version."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.commits import guarded, storage_failed
from clipserve_gateway.index.lance.documents import LanceDocuments, document
from clipserve_gateway.index.lance.lease import LEASES, Lease
from clipserve_gateway.index.lance.maintenance import open_dataset
from clipserve_gateway.index.lance.store import CATALOG, table_names
from clipserve_gateway.index.lance.sync import TableSync

T = TypeVar("T")

SUFFIX = ".lance"
"""Suffix of a table's folder."""


class TableVanished(Exception):
    """A table, or a file of the version to copy, was removed meanwhile."""


@dataclass(frozen=True)
class TableCopy:
    """The version of a table that was copied, and its number of rows."""

    rows: int
    version: int


class TableCopier:
    """Reads, copies and drops tables of a store (a folder or object storage). Only `copy` creates any."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/") or "/"
        self._database: Any = None
        self._leases: LanceDocuments | None = None

    def table_uri(self, table: str) -> str:
        """The folder or object prefix of a table."""
        return f"{self._uri}/{table}{SUFFIX}"

    async def open(self) -> None:
        """Connects to the store. Raises StorageFailed."""
        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
        async with guarded():
            self._database = await lancedb.connect_async(self._uri)

    async def close(self) -> None:
        """Waits for maintenance of the leases."""
        if self._leases is not None:
            await self._leases.close()

    async def tables(self) -> list[str]:
        """Names of all tables, including those of documents and leases. Raises StorageFailed."""
        async with guarded():
            return await table_names(self._database)

    async def drop(self, table: str) -> None:
        """Removes a table. Raises StorageFailed."""
        async with guarded():
            await self._database.drop_table(table, ignore_missing=True)

    async def lease(self, table: str) -> Lease:
        """The lease of a table. Its holder keeps others from merging files and removing old versions."""
        if self._leases is None:
            self._leases = await LanceDocuments.open(self._database, LEASES, TableSync(None))
        leases = self._leases

        async def documents() -> LanceDocuments:
            return leases

        return Lease(documents, table)

    async def table_bytes(self, table: str) -> int:
        """Approximate bytes of the table's data files."""
        return int(await self._on_newest(table, data_bytes))

    async def copy(self, table: str, target: str) -> TableCopy:
        """Copies the newest version of a table, with its indexes, to another URI."""

        def clone(dataset: Any) -> TableCopy:
            copy = dataset.deep_clone(target, dataset.version)
            return TableCopy(copy.count_rows(), dataset.version)

        return await self._on_newest(table, clone)

    async def documents(self) -> list[Document]:
        """All documents of the catalog."""
        rows = await self._on_newest(CATALOG, lambda dataset: dataset.to_table().to_pylist())
        return [document(row) for row in rows]

    async def count(self, table: str) -> int:
        """Rows of a table."""
        return int(await self._on_newest(table, lambda dataset: dataset.count_rows()))

    async def _on_newest(self, table: str, work: Callable[[Any], T]) -> T:
        """The result of `work` on the newest version of a table. Raises TableVanished or StorageFailed."""
        return await asyncio.to_thread(on_dataset, work, self.table_uri(table))


def on_dataset(work: Callable[[Any], T], uri: str) -> T:
    """The result of `work` on the newest version of a dataset. Raises TableVanished or StorageFailed."""
    try:
        return work(open_dataset(uri, None))
    except Exception as error:
        if not isinstance(error, ClipserveError):
            message = str(error).lower()
            if "not found" in message or "no such file" in message:
                raise TableVanished(str(error)[:300]) from error
        raise storage_failed(error) from error


def data_bytes(dataset: Any) -> int:
    """Bytes of the data files of a version."""
    return sum(
        file.file_size_bytes or 0 for fragment in dataset.get_fragments() for file in fragment.metadata.files
    )
