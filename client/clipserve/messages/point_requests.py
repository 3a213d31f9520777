"""Requests about collections and points that do not have lists of items."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from clipserve.filters.conditions import Filter
from clipserve.filters.text import to_filter
from clipserve.messages.collection_responses import METRICS
from clipserve.safe_text import quoted
from clipserve.types import ImageRules, IndexOptions
from clipserve.v1 import collection_pb2, common_pb2
from clipserve.wire.payload import write_schema

PAGE_SIZE = 1_000
"""Default number of entries per page. Servers may send fewer."""


def create_collection_request(
    name: str,
    schema: Mapping[str, str],
    model: str,
    metric: str,
    keep_sources: bool,
    index: IndexOptions,
    image_rules: ImageRules | None,
) -> collection_pb2.CreateCollectionRequest:
    """Raises ValueError for unknown types or metrics, and for options out of range."""
    if metric not in METRICS:
        raise ValueError(f"metric is {' or '.join(map(repr, METRICS))}, not {quoted(metric)}")
    options = dataclasses.asdict(index)
    for option, value in options.items():
        if not 0 <= value < 2**32:
            raise ValueError(f"{option} is {value}; it must be 0 to {2**32 - 1:,}")
    return collection_pb2.CreateCollectionRequest(
        name=name,
        model=model,
        metric=METRICS[metric],
        schema=write_schema(schema),
        keep_sources=keep_sources,
        index_options=collection_pb2.IndexOptions(**options) if index != IndexOptions() else None,
        image_rules=common_pb2.ImageRules(**dataclasses.asdict(image_rules)) if image_rules else None,
    )


def write_filter(filter: Filter | str | None) -> common_pb2.Filter | None:
    condition = to_filter(filter)
    return None if condition is None else condition.message()
