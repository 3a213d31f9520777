"""The engine that a URI or the settings name."""

from __future__ import annotations

import dataclasses
from typing import Any

from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.milvus import options as milvus_address
from clipserve_gateway.index.milvus.engine import MilvusEngine
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.settings import Settings


def open_engine(uri: str, milvus: MilvusOptions | None = None, **local: Any) -> Engine:
    """The engine for a URI: Milvus, milvus-lite, or LanceDB in a folder or object storage.

    `milvus` is how Milvus is to be used; its address and database are those of the URI. Nothing is opened
    before its first use. `local` are the options of LanceEngine.
    """
    found = milvus_address.parse(uri)
    if found is None:
        return LanceEngine(uri, **local)
    address, database = found
    options = milvus or MilvusOptions(address)
    return MilvusEngine(dataclasses.replace(options, address=address, database=database))


def engine_of(settings: Settings) -> Engine:
    """The engine that the settings ask for."""
    milvus = MilvusOptions(
        address="",
        token=settings.milvus_secret,
        ca=settings.milvus_ca,
        replicas=settings.milvus_replicas,
        shards=settings.milvus_shards,
        consistency=settings.milvus_consistency,
        timeout=settings.milvus_timeout_seconds,
    )
    return open_engine(
        settings.data, milvus, sync_writes=settings.sync_writes, erase_seconds=settings.erase_seconds
    )
