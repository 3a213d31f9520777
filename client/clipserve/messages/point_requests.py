"""Requests about collections and points that take no list."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from clipserve.filters.conditions import Filter
from clipserve.filters.text import to_filter
from clipserve.messages.collection_responses import METRICS
from clipserve.safe_text import quoted
from clipserve.types import IndexOptions
from clipserve.v1 import collection_pb2, common_pb2
from clipserve.wire.payload import write_schema

PAGE_SIZE = 1_000
"""Asked for where the caller does not say: servers send as many as they let into a page."""


def create_request(
    name: str, schema: Mapping[str, str], model: str, metric: str, keep_sources: bool, index: IndexOptions
) -> collection_pb2.CreateCollectionRequest:
    """A CreateCollection request; ValueError for types, metrics or options that are none."""
    if metric not in METRICS:
        raise ValueError(f"metric is {' or '.join(map(repr, METRICS))}, not {quoted(metric)}")
    options = dataclasses.asdict(index)
    for option, value in options.items():
        if not 0 <= value < 2**32:
            raise ValueError(f"{option} must not be {value}")
    return collection_pb2.CreateCollectionRequest(
        name=name,
        model=model,
        metric=METRICS[metric],
        schema=write_schema(schema),
        keep_sources=keep_sources,
        index_options=collection_pb2.IndexOptions(**options) if index != IndexOptions() else None,
    )


def count_request(collection: str, filter: Filter | str | None) -> collection_pb2.CountPointsRequest:
    """A CountPoints request."""
    return collection_pb2.CountPointsRequest(collection=collection, filter=write_filter(filter))


def delete_request(collection: str, filter: Filter | str) -> collection_pb2.DeletePointsRequest:
    """A DeletePoints request for all points that meet a filter."""
    return collection_pb2.DeletePointsRequest(collection=collection, filter=write_filter(filter))


def scroll_request(
    collection: str,
    *,
    filter: Filter | str | None,
    with_embeddings: bool,
    with_sources: bool,
    page_size: int | None,
) -> collection_pb2.ScrollPointsRequest:
    """A ScrollPoints request for the first page; ValueError for a page of nothing."""
    if page_size is not None and page_size < 1:
        raise ValueError(f"page_size is {page_size}; it must be at least 1")
    return collection_pb2.ScrollPointsRequest(
        collection=collection,
        filter=write_filter(filter),
        page_size=min(page_size or PAGE_SIZE, 2**31 - 1),
        with_embeddings=with_embeddings,
        with_sources=with_sources,
    )


def write_filter(filter: Filter | str | None) -> common_pb2.Filter | None:
    """The message for a condition."""
    condition = to_filter(filter)
    return None if condition is None else condition.message()
