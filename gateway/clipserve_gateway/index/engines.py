"""Chooses the engine for a URI or the settings."""

from __future__ import annotations

import dataclasses
from typing import Any

from clipserve_gateway.index.base import Engine
from clipserve_gateway.index.lance.engine import LanceEngine
from clipserve_gateway.index.milvus.engine import MilvusEngine
from clipserve_gateway.index.milvus.options import MilvusOptions, parse_milvus_uri
from clipserve_gateway.settings import Settings


def open_engine(uri: str, milvus: MilvusOptions | None = None, **local: Any) -> Engine:
    """The engine for a URI: Milvus, milvus-lite, or LanceDB in a folder or object storage.

    Args:
        uri: see MilvusOptions and LanceEngine. Nothing is opened before the engine's first use.
        milvus: options of Milvus. The URI's address and database replace those in it.
        local: options of LanceEngine.
    """
    parsed = parse_milvus_uri(uri)
    if parsed is None:
        return LanceEngine(uri, **local)
    address, database = parsed
    options = milvus or MilvusOptions(address)
    return MilvusEngine(dataclasses.replace(options, address=address, database=database))


def engine_of(settings: Settings) -> Engine:
    """The engine for the settings."""
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
