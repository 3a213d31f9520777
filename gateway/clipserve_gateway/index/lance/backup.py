"""A LanceDB store as backups see it: tables that are copied whole, each at one version."""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipserve_gateway.errors import ClipserveError
from clipserve_gateway.index.base import Document
from clipserve_gateway.index.lance.commits import storage_failed
from clipserve_gateway.index.lance.documents import LanceDocuments, document
from clipserve_gateway.index.lance.engine import CATALOG
from clipserve_gateway.index.lance.lease import LEASES, Lease
from clipserve_gateway.index.lance.maintenance import open_dataset
from clipserve_gateway.index.lance.sync import TableSync

SUFFIX = ".lance"
"""Of a table's folder."""


class Vanished(Exception):
    """A table, or a file of the version that was being copied, was removed meanwhile."""


@dataclass(frozen=True)
class Copied:
    """A table at the version that was copied."""

    rows: int
    version: int


class LanceStore:
    """A store in a folder or object storage. Nothing is made where there is none, but by `copy`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/") or "/"
        self._database: Any = None
        self._leases: LanceDocuments | None = None

    def place(self, table: str) -> str:
        """Where a table lies."""
        return f"{self._uri}/{table}{SUFFIX}"

    async def open(self) -> None:
        """Connects to the store. Raises StorageFailed."""
        lancedb = await asyncio.to_thread(importlib.import_module, "lancedb")
        try:
            self._database = await lancedb.connect_async(self._uri)
        except Exception as error:
            raise storage_failed(error) from error

    async def close(self) -> None:
        """Waits for the upkeep of the leases."""
        if self._leases is not None:
            await self._leases.close()

    async def tables(self) -> list[str]:
        """Names of all tables, the catalog's and the leases' too."""
        names: list[str] = []
        token: str | None = None
        try:
            while True:
                page = await self._database.list_tables(page_token=token)
                names += page.tables
                token = page.page_token
                if not token:
                    return names
        except Exception as error:
            raise storage_failed(error) from error

    async def drop(self, table: str) -> None:
        """Removes a table. Raises StorageFailed."""
        try:
            await self._database.drop_table(table, ignore_missing=True)
        except Exception as error:
            raise storage_failed(error) from error

    async def lease(self, table: str) -> Lease:
        """The lease of a table: who holds it keeps others from merging files and removing old versions."""
        if self._leases is None:
            self._leases = await LanceDocuments.open(self._database, LEASES, TableSync(None))
        leases = self._leases

        async def documents() -> LanceDocuments:
            return leases

        return Lease(documents, table)

    async def size(self, table: str) -> int:
        """Bytes of the table's data files, about."""
        return await asyncio.to_thread(on_dataset, data_bytes, self.place(table))

    async def copy(self, table: str, target: str) -> Copied:
        """Copies the newest version of a table, with its indexes, to another place. Raises Vanished."""

        def clone(dataset: Any) -> Copied:
            made = dataset.deep_clone(target, dataset.version)
            return Copied(made.count_rows(), dataset.version)

        return await asyncio.to_thread(on_dataset, clone, self.place(table))

    async def documents(self) -> list[Document]:
        """All documents of the catalog."""
        return await asyncio.to_thread(on_dataset, all_documents, self.place(CATALOG))

    async def count(self, table: str) -> int:
        """Rows of a table."""
        return await asyncio.to_thread(on_dataset, lambda dataset: dataset.count_rows(), self.place(table))


def on_dataset(work: Any, place: str) -> Any:
    """What `work` makes of the newest version of a dataset. Raises Vanished, StorageFailed."""
    try:
        return work(open_dataset(place, None))
    except Exception as error:
        raise meaning(error) from error


def meaning(error: Exception) -> Exception:
    """Vanished for what is not there, else StorageFailed."""
    if isinstance(error, ClipserveError):
        return error
    message = str(error).lower()
    if "not found" in message or "no such file" in message or "was not found" in message:
        return Vanished(str(error)[:300])
    return storage_failed(error)


def data_bytes(dataset: Any) -> int:
    """Of the data files of a version."""
    return sum(file.file_size_bytes or 0 for it in dataset.get_fragments() for file in it.metadata.files)


def all_documents(dataset: Any) -> list[Document]:
    """Of the catalog's dataset."""
    return [document(row) for row in dataset.to_table().to_pylist()]


def local_folder(uri: str) -> Path | None:
    """The folder of a store on this machine; None for object storage."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)
