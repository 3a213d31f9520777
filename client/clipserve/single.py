"""Requests of calls that take no list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy.typing as npt

from clipserve.filters import Filter, checked
from clipserve.images import ImageLike, write_image
from clipserve.payload import write_embedding, write_schema
from clipserve.responses import METRICS
from clipserve.v1 import clip_pb2, collection_pb2

PAGE_SIZE = 1_000


def search_request(
    collection: str,
    *,
    text: str | None,
    image: ImageLike | None,
    embedding: npt.ArrayLike | None,
    top_k: int,
    score_threshold: float | None,
    filter: Filter | None,
    with_payload: bool,
    fingerprint: str,
) -> clip_pb2.SearchRequest:
    """A Search request; TypeError unless there is exactly one query."""
    if sum(query is not None for query in (text, image, embedding)) != 1:
        raise TypeError("search needs exactly one of text, image and embedding")
    request = clip_pb2.SearchRequest(
        collection=collection,
        top_k=top_k,
        score_threshold=score_threshold,
        omit_payload=not with_payload,
        fingerprint=fingerprint,
    )
    if text is not None:
        request.text = text
    elif image is not None:
        request.image.CopyFrom(write_image(image))
    elif embedding is not None:
        request.embedding.CopyFrom(write_embedding(embedding))
    if filter is not None:
        request.filter.CopyFrom(checked(filter).message())
    return request


def create_request(
    name: str, schema: Mapping[str, str], model: str, metric: str
) -> collection_pb2.CreateCollectionRequest:
    """A CreateCollection request; ValueError for types or metrics that are none."""
    if metric not in METRICS:
        raise ValueError(f"metric is {' or '.join(map(repr, METRICS))}, not {metric!r}")
    return collection_pb2.CreateCollectionRequest(
        name=name, model=model, metric=METRICS[metric], schema=write_schema(schema)
    )


def list_request(page_token: str) -> collection_pb2.ListCollectionsRequest:
    """A ListCollections request for a large page."""
    return collection_pb2.ListCollectionsRequest(page_size=PAGE_SIZE, page_token=page_token)


def count_request(collection: str, filter: Filter | None) -> collection_pb2.CountPointsRequest:
    """A CountPoints request."""
    condition = None if filter is None else checked(filter).message()
    return collection_pb2.CountPointsRequest(collection=collection, filter=condition)
