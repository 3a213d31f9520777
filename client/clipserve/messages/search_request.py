"""Search requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from clipserve.filters.conditions import Filter
from clipserve.inputs.image_like import ImageLike
from clipserve.inputs.text_checks import TextCheck
from clipserve.inputs.text_encoding import utf8
from clipserve.messages.point_requests import write_filter
from clipserve.safe_text import quoted
from clipserve.types import Weighted
from clipserve.v1 import clip_pb2
from clipserve.wire.embeddings import write_embedding
from clipserve.wire.images import MAX_FILE_BYTES, write_image

CONSISTENCIES = {
    None: clip_pb2.CONSISTENCY_UNSPECIFIED,
    "bounded": clip_pb2.CONSISTENCY_BOUNDED,
    "strong": clip_pb2.CONSISTENCY_STRONG,
}


def search_request(
    collection: str,
    *,
    text: str | None,
    image: ImageLike | None,
    embedding: npt.ArrayLike | None,
    like: str | None,
    weighted: Sequence[Weighted] | None,
    top_k: int,
    score_threshold: float | None,
    filter: Filter | str | None,
    with_payload: bool,
    payload_fields: Sequence[str],
    fingerprint: str,
    consistency: str | None,
    group_duplicates: bool | float,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> clip_pb2.SearchRequest:
    """Raises TypeError or ValueError for invalid arguments."""
    if sum(query is not None for query in (text, image, embedding, like, weighted)) != 1:
        raise TypeError("search needs exactly one of text, image, embedding, like and weighted")
    if consistency not in CONSISTENCIES:
        raise ValueError(f"consistency is 'bounded' or 'strong', not {quoted(consistency)}")
    if isinstance(payload_fields, str):
        raise TypeError("payload_fields is a list of str, not a single str")
    request = clip_pb2.SearchRequest(
        collection=utf8(collection),
        top_k=top_k,
        score_threshold=score_threshold,
        omit_payload=not with_payload,
        payload_fields=payload_fields,
        fingerprint=fingerprint,
        consistency=CONSISTENCIES[consistency],
        filter=write_filter(filter),
    )
    if weighted is not None:
        request.weighted.CopyFrom(write_weighted(weighted, max_file_bytes))
    else:
        write_query(request, text, image, embedding, like, max_file_bytes)
    if group_duplicates is not False:
        request.group_duplicates = True
        request.duplicate_threshold = duplicate_threshold(group_duplicates)
    return request


def write_query(
    message: Any,
    text: str | None,
    image: ImageLike | None,
    embedding: npt.ArrayLike | None,
    like: str | None,
    max_file_bytes: int,
) -> None:
    """Sets the query of a SearchRequest or WeightedPart."""
    if text is not None:
        message.text = utf8(text)
    elif image is not None:
        message.image.CopyFrom(write_image(image, max_file_bytes))
    elif embedding is not None:
        message.embedding.CopyFrom(write_embedding(embedding))
    elif like is not None:
        message.like = utf8(like)


def write_weighted(parts: Sequence[Weighted], max_file_bytes: int) -> clip_pb2.WeightedQuery:
    """The message of a weighted query. Errors name the position of the invalid part."""
    query = clip_pb2.WeightedQuery()
    for i, part in enumerate(parts):
        if not isinstance(part, Weighted):
            raise TypeError(f"weighted[{i}] is a clipserve.Weighted, not {type(part).__name__}")
        queries = (part.text, part.image, part.embedding, part.like)
        if sum(query is not None for query in queries) != 1:
            raise ValueError(f"weighted[{i}] needs exactly one of text, image, embedding and like")
        if not math.isfinite(part.weight) or not part.weight:
            raise ValueError(f"weighted[{i}]: the weight is {part.weight}; it must be finite and not 0")
        write_query(query.parts.add(weight=part.weight), *queries, max_file_bytes)
    return query


def check_query_texts(text: str | None, weighted: Sequence[Weighted]) -> TextCheck:
    """Checks the texts of a query."""
    check = TextCheck()
    if text is not None:
        check.add("text", text)
    for i, part in enumerate(weighted):
        if part.text is not None:
            check.add(f"weighted[{i}].text", part.text)
    return check


def duplicate_threshold(group_duplicates: bool | float) -> float:
    """The request's threshold; 0 means the server's default. Raises ValueError outside of 0…1."""
    if group_duplicates is True:
        return 0.0
    if not 0 < group_duplicates <= 1:
        raise ValueError(
            f"group_duplicates is {group_duplicates}; it must be a bool or a cosine above 0, up to 1"
        )
    return float(group_duplicates)
