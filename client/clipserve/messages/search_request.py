"""Search requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from clipserve.filters.conditions import Filter
from clipserve.filters.text import to_filter
from clipserve.inputs.image_like import ImageLike
from clipserve.inputs.text_checks import TextCheck
from clipserve.inputs.text_encoding import utf8
from clipserve.safe_text import quoted
from clipserve.types import Weighted
from clipserve.v1 import clip_pb2
from clipserve.wire.images import MAX_FILE_BYTES, write_image
from clipserve.wire.payload import write_embedding

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
    """A Search request; TypeError or ValueError for what cannot be meant."""
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
    )
    if weighted is not None:
        request.weighted.CopyFrom(write_weighted(weighted, max_file_bytes))
    else:
        write_query(request, text, image, embedding, like, max_file_bytes)
    condition = to_filter(filter)
    if condition is not None:
        request.filter.CopyFrom(condition.message())
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
    """Sets the one query that is given in a SearchRequest or WeightedPart."""
    if text is not None:
        message.text = utf8(text)
    elif image is not None:
        message.image.CopyFrom(write_image(image, max_file_bytes))
    elif embedding is not None:
        message.embedding.CopyFrom(write_embedding(embedding))
    elif like is not None:
        message.like = utf8(like)


def write_weighted(parts: Sequence[Weighted], max_file_bytes: int) -> clip_pb2.WeightedQuery:
    """The message for several queries; TypeError or ValueError, naming the part."""
    query = clip_pb2.WeightedQuery()
    for i, part in enumerate(parts):
        if not isinstance(part, Weighted):
            raise TypeError(f"weighted[{i}] is a clipserve.Weighted, not {type(part).__name__}")
        given = (part.text, part.image, part.embedding, part.like)
        if sum(one is not None for one in given) != 1:
            raise ValueError(f"weighted[{i}] needs exactly one of text, image, embedding and like")
        if not math.isfinite(part.weight) or not part.weight:
            raise ValueError(f"weighted[{i}]: a weight is finite and not 0, not {part.weight}")
        write_query(query.parts.add(weight=part.weight), *given, max_file_bytes)
    return query


def query_check(text: str | None, weighted: Sequence[Weighted]) -> TextCheck:
    """A look at the texts of a query."""
    check = TextCheck()
    if text is not None:
        check.see("text", text)
    for i, part in enumerate(weighted):
        if part.text is not None:
            check.see(f"weighted[{i}].text", part.text)
    return check


def duplicate_threshold(wanted: bool | float) -> float:
    """What the request says: 0 leaves the number to the server. ValueError outside of 0…1."""
    if wanted is True:
        return 0.0
    if not 0 < wanted <= 1:
        raise ValueError(f"group_duplicates is a bool or a cosine above 0 to 1, not {wanted}")
    return float(wanted)
