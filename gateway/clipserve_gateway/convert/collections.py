"""Requests and answers of CollectionService, and of Search."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clipserve_gateway.collection_ops import NewPoint
from clipserve_gateway.convert.common import check_count, check_text, read_image, read_top_k
from clipserve_gateway.convert.embedding import read_embedding, write_embedding
from clipserve_gateway.convert.filters import read_filter
from clipserve_gateway.convert.payload import read_payload, read_schema, write_payload, write_schema
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import ClipserveError, InvalidInput, InvalidPayload, LimitExceeded
from clipserve_gateway.search import Query, SearchOutcome
from clipserve_gateway.types import (
    CollectionSpec,
    EncodedImage,
    Filter,
    Floats,
    Input,
    Limits,
    PayloadType,
    Point,
    RawImage,
)

COLLECTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{2,63}")
MAX_ID_BYTES = 512
DEFAULT_TOP_K = 10
DEFAULT_PAGE, MAX_PAGE = 100, 1_000


@dataclass(frozen=True)
class CreateCall:
    """A CreateCollection request, checked."""

    name: str
    model: str
    schema: dict[str, PayloadType]


def read_create(request: collection_pb2.CreateCollectionRequest) -> CreateCall:
    """Raises InvalidInput for a bad name, metric or schema."""
    if not COLLECTION_NAME.fullmatch(request.name):
        raise InvalidInput(
            f"{request.name[:80]!r}: 3 to 64 letters, digits and underscores, no digit first", field="name"
        )
    if request.metric not in (collection_pb2.METRIC_UNSPECIFIED, collection_pb2.METRIC_COSINE):
        raise InvalidInput(f"metric {request.metric} is not known; there is METRIC_COSINE", field="metric")
    return CreateCall(request.name, request.model, read_schema(request.schema))


def write_collection(spec: CollectionSpec, count: int) -> collection_pb2.Collection:
    """A collection."""
    created = Timestamp()
    created.FromDatetime(spec.create_time)
    return collection_pb2.Collection(
        name=spec.name,
        model=write_model(spec),
        metric=collection_pb2.METRIC_COSINE,
        schema=write_schema(spec.schema),
        count=count,
        create_time=created,
    )


def write_model(spec: CollectionSpec) -> common_pb2.ModelRef:
    """The model whose embeddings a collection holds."""
    return common_pb2.ModelRef(name=spec.model, fingerprint=spec.fingerprint, embed_dim=spec.dim)


def read_page(request: collection_pb2.ListCollectionsRequest) -> tuple[str, int]:
    """The name after which the page begins, and its size."""
    if request.page_size < 0:
        raise InvalidInput("page_size must not be negative", field="page_size")
    try:
        after = base64.b64decode(request.page_token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInput("page_token is none that this server gave out", field="page_token") from None
    return after, min(request.page_size or DEFAULT_PAGE, MAX_PAGE)


def write_page_token(last_name: str) -> str:
    """The token of the page that begins after `last_name`."""
    return base64.urlsafe_b64encode(last_name.encode()).decode()


def read_points(
    request: collection_pb2.UpsertPointsRequest, collection: CollectionSpec, limits: Limits
) -> list[NewPoint | InvalidInput]:
    """The points, those that cannot be accepted replaced by what is wrong with them.

    Raises InvalidInput for what is wrong with the whole call: no points, too many, or one id twice.
    """
    check_count(len(request.points), limits.max_items_per_call, "points")
    first_seen: dict[str, int] = {}
    points: list[NewPoint | InvalidInput] = []
    for i, point in enumerate(request.points):
        if point.id in first_seen:
            raise InvalidInput(
                f"id {point.id[:80]!r} is already that of points[{first_seen[point.id]}]",
                field=f"points[{i}].id",
            )
        first_seen[point.id] = i
        points.append(read_point(point, collection, limits))
    return points


def read_point(
    point: collection_pb2.PointInput, collection: CollectionSpec, limits: Limits
) -> NewPoint | InvalidInput:
    """One point, or what is wrong with it."""
    try:
        check_id(point.id, "id")
        size = sum(len(name) + value.ByteSize() for name, value in point.payload.items())
        if size > limits.max_payload_bytes:
            raise InvalidPayload(
                f"the payload has {size} bytes; at most {limits.max_payload_bytes} are kept", field="payload"
            )
        payload = read_payload(point.payload, collection.schema, "payload")
        return NewPoint(point.id, read_source(point, limits), payload)
    except InvalidInput as error:
        return error


def read_source(
    message: collection_pb2.PointInput | clip_pb2.SearchRequest, limits: Limits
) -> EncodedImage | RawImage | str | Floats:
    """The picture, text or embedding of a point or query."""
    kind = message.WhichOneof("query" if isinstance(message, clip_pb2.SearchRequest) else "source")
    if kind == "image":
        return read_image(message.image, "image.")
    if kind == "text":
        check_text(message.text, limits, "text")
        return message.text
    if kind == "embedding":
        return read_embedding(message.embedding, "embedding")
    raise InvalidInput("set image, text or embedding", field="text")


def check_id(id: str, field: str) -> None:
    """1–512 bytes of UTF-8 without control characters."""
    if not 1 <= len(id.encode()) <= MAX_ID_BYTES:
        raise InvalidInput(f"an id has 1 to {MAX_ID_BYTES} bytes, not {len(id.encode())}", field=field)
    if any(character < " " or "\x7f" <= character < "\xa0" for character in id):
        raise InvalidInput("an id must not have control characters", field=field)


def write_upsert(
    statuses: Sequence[ClipserveError | None], points: Sequence[NewPoint | InvalidInput], spec: CollectionSpec
) -> collection_pb2.UpsertPointsResponse:
    """What became of each point."""
    return collection_pb2.UpsertPointsResponse(
        statuses=[
            item_status(error, point_path(point, i))
            for i, (error, point) in enumerate(zip(statuses, points, strict=True))
        ],
        model=write_model(spec),
    )


def point_path(point: NewPoint | InvalidInput, i: int) -> str:
    """Where the i-th point's errors lie: its image's own, if an image is what was embedded."""
    image = isinstance(point, NewPoint) and isinstance(point.source, EncodedImage | RawImage)
    return f"points[{i}].image" if image else f"points[{i}]"


def read_ids(ids: Sequence[str], limits: Limits) -> list[str]:
    """Ids of points to get or delete."""
    check_count(len(ids), limits.max_items_per_call, "ids")
    for i, id in enumerate(ids):
        check_id(id, f"ids[{i}]")
    return list(ids)


def read_optional_filter(
    request: clip_pb2.SearchRequest | collection_pb2.CountPointsRequest, collection: CollectionSpec
) -> Filter | None:
    """The filter, if there is one."""
    return read_filter(request.filter, collection.schema) if request.HasField("filter") else None


def write_point(point: Point) -> collection_pb2.Point:
    """A stored point."""
    embedding = None
    if point.embedding is not None:
        embedding = write_embedding(point.embedding, common_pb2.EMBEDDING_FORMAT_FLOAT32_LE)
    return collection_pb2.Point(id=point.id, payload=write_payload(point.payload), embedding=embedding)


def read_search(request: clip_pb2.SearchRequest, limits: Limits) -> Query:
    """Raises InvalidInput for a bad query; the filter is read when the collection's schema is known."""
    top_k = read_top_k(request.top_k, DEFAULT_TOP_K)
    if top_k > limits.max_top_k:
        raise LimitExceeded(
            f"top_k is {top_k}; at most {limits.max_top_k}",
            field="top_k",
            metadata={"limit": str(limits.max_top_k)},
        )
    threshold = request.score_threshold if request.HasField("score_threshold") else None
    if threshold is not None and not -1 <= threshold <= 1:
        raise InvalidInput("score_threshold is a cosine, -1 to 1", field="score_threshold")
    source: Input | Floats = read_source(request, limits)
    return Query(
        collection=request.collection,
        source=source,
        top_k=top_k,
        score_threshold=threshold,
        filter=lambda collection: read_optional_filter(request, collection),
        with_payload=not request.omit_payload,
        fingerprint=request.fingerprint,
    )


def write_search(outcome: SearchOutcome) -> clip_pb2.SearchResponse:
    """The hits, best first."""
    return clip_pb2.SearchResponse(
        hits=[
            clip_pb2.SearchHit(id=hit.id, score=hit.score, payload=write_payload(hit.payload))
            for hit in outcome.hits
        ],
        model=write_model(outcome.collection),
        truncated=outcome.truncated,
    )
