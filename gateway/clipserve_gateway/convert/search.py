"""Search in protobuf."""

from __future__ import annotations

import math

from clipserve.v1 import clip_pb2

from clipserve_gateway.collection.duplicates import Group
from clipserve_gateway.collection.score_statistics import ScoreScale
from clipserve_gateway.collection.search import Like, Part, Query, SearchOutcome
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.convert.common import (
    check_count,
    check_fits,
    check_limit,
    check_text,
    read_image,
    read_top_k,
    write_model,
)
from clipserve_gateway.convert.embedding import read_embedding
from clipserve_gateway.convert.filters import read_optional_filter
from clipserve_gateway.convert.payload import payload_steps, unknown_field, write_payload
from clipserve_gateway.convert.points import check_id
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.index.values import Hit
from clipserve_gateway.types import Floats, Input, Limits

DEFAULT_TOP_K = 10
DEFAULT_DUPLICATE_THRESHOLD = 0.95
MAX_PARTS = 16
CONSISTENCIES = frozenset(clip_pb2.Consistency.values())


def read_search(request: clip_pb2.SearchRequest, collection: CollectionSpec, limits: Limits) -> Query:
    """The query, validated against the collection's schema. Raises InvalidInput."""
    top_k = read_top_k(request.top_k, DEFAULT_TOP_K)
    check_limit("top_k", top_k, limits.max_top_k, "top_k")
    threshold = request.score_threshold if request.HasField("score_threshold") else None
    if threshold is not None and not -1 <= threshold <= 1:
        raise InvalidInput(
            f"score_threshold is {threshold:g}; it is a cosine, -1 to 1", field="score_threshold"
        )
    if request.consistency not in CONSISTENCIES:
        raise InvalidInput(
            f"consistency {request.consistency} is not known; use CONSISTENCY_BOUNDED or CONSISTENCY_STRONG",
            field="consistency",
        )
    return Query(
        collection=collection,
        parts=read_parts(request, limits),
        top_k=top_k,
        score_threshold=threshold,
        filter=read_optional_filter(request, collection.schema, limits),
        with_payload=not request.omit_payload,
        payload_fields=read_payload_fields(request, collection),
        fingerprint=request.fingerprint,
        consistent=request.consistency == clip_pb2.CONSISTENCY_STRONG,
        duplicate_threshold=read_duplicate_threshold(request),
    )


def read_parts(request: clip_pb2.SearchRequest, limits: Limits) -> tuple[Part, ...]:
    """The parts of the query: one, or several with weights."""
    kind = request.WhichOneof("query")
    if kind is None:
        raise InvalidInput("set text, image, embedding, like or weighted", field="query")
    if kind != "weighted":
        return (Part(read_source(request, kind, limits, "")),)
    check_count(len(request.weighted.parts), MAX_PARTS, "weighted.parts")
    return tuple(
        read_part(part, limits, f"weighted.parts[{i}].") for i, part in enumerate(request.weighted.parts)
    )


def read_part(part: clip_pb2.WeightedPart, limits: Limits, path: str) -> Part:
    """One part of a weighted query."""
    if not math.isfinite(part.weight) or part.weight == 0:
        raise InvalidInput("the weight must be a finite number other than 0", field=f"{path}weight")
    kind = part.WhichOneof("part")
    if kind is None:
        raise InvalidInput("set text, image, embedding or like", field=f"{path}part")
    return Part(read_source(part, kind, limits, path), part.weight, path)


def read_source(
    message: clip_pb2.SearchRequest | clip_pb2.WeightedPart, kind: str, limits: Limits, path: str
) -> Input | Floats | Like:
    """The image, text, embedding or id in the field `kind`."""
    if kind == "image":
        return read_image(message.image, f"{path}image.")
    if kind == "text":
        check_text(message.text, limits, f"{path}text")
        return message.text
    if kind == "embedding":
        return read_embedding(message.embedding, f"{path}embedding")
    check_id(message.like, f"{path}like")
    return Like(message.like)


def read_payload_fields(request: clip_pb2.SearchRequest, collection: CollectionSpec) -> tuple[str, ...]:
    """Payload fields to return; empty means all."""
    if request.omit_payload and request.payload_fields:
        raise InvalidInput("set omit_payload or payload_fields, not both", field="payload_fields")
    for i, name in enumerate(request.payload_fields):
        if name not in collection.schema:
            raise InvalidInput(unknown_field(name, collection.schema), field=f"payload_fields[{i}]")
    return tuple(request.payload_fields)


def read_duplicate_threshold(request: clip_pb2.SearchRequest) -> float | None:
    """Cosine from which hits are grouped; None if they are not grouped."""
    threshold = request.duplicate_threshold or DEFAULT_DUPLICATE_THRESHOLD
    if not 0 < threshold <= 1:
        raise InvalidInput(
            f"duplicate_threshold is {threshold:g}; it is a cosine, above 0 and at most 1",
            field="duplicate_threshold",
        )
    return threshold if request.group_duplicates else None


def write_steps(outcome: SearchOutcome) -> int:
    """Approximate number of steps to write the hits (see off_loop)."""
    hits = [hit for group in outcome.groups for hit in (group.hit, *group.duplicates)]
    return payload_steps([hit.payload for hit in hits])


def write_search(outcome: SearchOutcome, limits: Limits) -> clip_pb2.SearchResponse:
    """The hits, best first."""
    response = clip_pb2.SearchResponse(
        hits=[write_group(group, outcome.scale) for group in outcome.groups],
        model=write_model(outcome.collection.serving),
        truncated=outcome.truncated,
        incomplete=outcome.incomplete,
        weak_match=outcome.weak_match,
    )
    return check_fits(response, limits, "top_k")


def write_group(group: Group, scale: ScoreScale | None) -> clip_pb2.SearchHit:
    """A hit with its near-duplicates."""
    message = write_hit(group.hit, scale)
    message.duplicates.extend(write_hit(hit, scale) for hit in group.duplicates)
    return message


def write_hit(hit: Hit, scale: ScoreScale | None) -> clip_pb2.SearchHit:
    """One hit, with its percentile if the collection has score statistics."""
    return clip_pb2.SearchHit(
        id=hit.id,
        score=hit.score,
        payload=write_payload(hit.payload),
        percentile=None if scale is None else scale.percentile(hit.score),
    )
