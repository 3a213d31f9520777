"""Points in protobuf: requests that write, delete, get, scroll and count points, and their responses."""

from __future__ import annotations

from collections.abc import Sequence

from clipserve.v1 import collection_pb2, common_pb2

from clipserve_gateway.collection.points import NewPoint, Page, UpsertOutcome
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.convert.common import (
    check_count,
    check_fits,
    check_text,
    compute_hashes,
    read_image,
    write_model,
)
from clipserve_gateway.convert.embedding import read_embedding, write_embedding
from clipserve_gateway.convert.filters import read_filter
from clipserve_gateway.convert.pages import write_page_token
from clipserve_gateway.convert.payload import payload_steps, read_payload, write_payload
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import InvalidInput, InvalidPayload, LimitExceeded
from clipserve_gateway.index.values import MAX_ID_BYTES, MAX_URI_BYTES, Filter, Point
from clipserve_gateway.types import EncodedImage, Floats, Limits, RawImage

FRAMING_BYTES = 8
"""Tag and length of one point in a response, at most."""


def read_points(
    request: collection_pb2.UpsertPointsRequest, collection: CollectionSpec, limits: Limits
) -> list[NewPoint | InvalidInput]:
    """The points; an invalid point is replaced by its error.

    Raises InvalidInput for errors of the whole call: no points, too many points, or a repeated id.
    """
    check_count(len(request.points), limits.max_items_per_call, "points")
    first_seen: dict[str, int] = {}
    points: list[NewPoint | InvalidInput] = []
    for i, point in enumerate(request.points):
        if point.id in first_seen:
            raise InvalidInput(
                f"id {point.id[:80]!r} appears twice; it is already the id of points[{first_seen[point.id]}]",
                field=f"points[{i}].id",
            )
        first_seen[point.id] = i
        points.append(read_point(point, collection, limits))
    compute_hashes(point.source for point in points if isinstance(point, NewPoint))
    return points


def read_point(
    point: collection_pb2.PointInput, collection: CollectionSpec, limits: Limits
) -> NewPoint | InvalidInput:
    """One point, or its error."""
    try:
        check_id(point.id, "id")
        payload_bytes = sum(len(name) + value.ByteSize() for name, value in point.payload.items())
        if payload_bytes > limits.max_payload_bytes:
            raise InvalidPayload(
                f"the payload has {payload_bytes} bytes; at most {limits.max_payload_bytes} are allowed",
                field="payload",
            )
        payload = read_payload(point.payload, collection.schema, "payload")
        if len(point.source_uri.encode()) > MAX_URI_BYTES:
            raise LimitExceeded(f"source_uri has more than {MAX_URI_BYTES} bytes", field="source_uri")
        source, kept_source = read_source(point, limits), read_kept_source(point, collection, limits)
        return NewPoint(point.id, source, payload, point.source_uri, kept_source, point.must_be_new)
    except InvalidInput as error:
        return error


def read_source(point: collection_pb2.PointInput, limits: Limits) -> EncodedImage | RawImage | str | Floats:
    """The image, text or embedding of a point."""
    kind = point.WhichOneof("source")
    if kind == "image":
        return read_image(point.image, "image.")
    if kind == "text":
        check_text(point.text, limits, "text")
        return point.text
    if kind == "embedding":
        return read_embedding(point.embedding, "embedding")
    raise InvalidInput("set image, text or embedding", field="source")


def read_kept_source(
    point: collection_pb2.PointInput, collection: CollectionSpec, limits: Limits
) -> EncodedImage | RawImage | str | None:
    """The source of a given embedding. Raises InvalidInput where the collection would not store it."""
    kind = point.WhichOneof("kept_source")
    if kind is None:
        return None
    if point.WhichOneof("source") != "embedding":
        raise InvalidInput(
            f"send {kind} only with embedding; a collection that stores sources keeps image and text anyway",
            field=kind,
        )
    if not collection.keep_sources:
        raise InvalidInput(
            f"collection {collection.name!r} does not store sources; leave out {kind}", field=kind
        )
    if kind == "kept_image":
        return read_image(point.kept_image, "kept_image.")
    check_text(point.kept_text, limits, "kept_text")
    return point.kept_text


def check_id(id: str, field: str) -> None:
    """Raises InvalidInput unless the id has 1 to 512 bytes of UTF-8 and no control characters."""
    if not 1 <= len(id.encode()) <= MAX_ID_BYTES:
        raise InvalidInput(f"the id has {len(id.encode())} bytes; give 1 to {MAX_ID_BYTES}", field=field)
    if any(character < " " or "\x7f" <= character < "\xa0" for character in id):
        raise InvalidInput("the id must not have control characters", field=field)


def write_upsert(
    outcome: UpsertOutcome, points: Sequence[NewPoint | InvalidInput], spec: CollectionSpec
) -> collection_pb2.UpsertPointsResponse:
    """The status of each point."""
    return collection_pb2.UpsertPointsResponse(
        statuses=[
            item_status(error, point_path(point, i))
            for i, (error, point) in enumerate(zip(outcome.statuses, points, strict=True))
        ],
        model=write_model(spec.serving),
        truncated=[i for i, truncated in enumerate(outcome.truncated) if truncated],
    )


def point_path(point: NewPoint | InvalidInput, i: int) -> str:
    """Field path of the i-th point's errors; the path of its image if the point is made from an image."""
    image = isinstance(point, NewPoint) and isinstance(point.source, EncodedImage | RawImage)
    return f"points[{i}].image" if image else f"points[{i}]"


def read_ids(ids: Sequence[str], limits: Limits) -> list[str]:
    """Ids of points to get or delete."""
    check_count(len(ids), limits.max_items_per_call, "ids")
    for i, id in enumerate(ids):
        check_id(id, f"ids[{i}]")
    return list(ids)


def read_deletion(
    request: collection_pb2.DeletePointsRequest, collection: CollectionSpec, limits: Limits
) -> list[str] | Filter:
    """The points to delete: by id, or by filter."""
    if request.HasField("filter") == bool(request.ids):
        raise InvalidInput("set exactly one of ids and filter", field="ids")
    if request.HasField("filter"):
        return read_filter(request.filter, collection.schema, limits)
    return read_ids(request.ids, limits)


def write_point(point: Point) -> collection_pb2.Point:
    """A stored point."""
    message = collection_pb2.Point(
        id=point.id, payload=write_payload(point.payload), source_uri=point.source_uri
    )
    if point.embedding is not None:
        embedding = write_embedding(point.embedding, common_pb2.EMBEDDING_FORMAT_FLOAT32_LE)
        message.embedding.CopyFrom(embedding)
    if point.source is not None and point.source.kind == "image":
        message.image_content = point.source.content
    elif point.source is not None:
        message.text = point.source.content.decode()
    return message


def write_steps(points: Sequence[Point]) -> int:
    """Approximate number of steps to write the points (see off_loop)."""
    sources = sum(len(point.source.content) for point in points if point.source is not None)
    return payload_steps([point.payload for point in points]) + sources // 256


def write_points(
    points: Sequence[Point], spec: CollectionSpec, limits: Limits
) -> collection_pb2.GetPointsResponse:
    """The requested points. Raises LimitExceeded if they are too large for a message."""
    response = collection_pb2.GetPointsResponse(
        points=map(write_point, points), model=write_model(spec.serving)
    )
    return check_fits(response, limits, "ids")


def write_scroll(page: Page, spec: CollectionSpec, limits: Limits) -> collection_pb2.ScrollPointsResponse:
    """A page of points; points that do not fit into the message move to the next page."""
    response = collection_pb2.ScrollPointsResponse(model=write_model(spec.serving))
    size, max_size = response.ByteSize(), limits.max_message_bytes - 4 * MAX_ID_BYTES
    more = page.more
    for point in page.points:
        message = write_point(point)
        size += message.ByteSize() + FRAMING_BYTES
        if response.points and size > max_size:
            more = True
            break
        response.points.append(message)
    if more and response.points:
        response.next_page_token = write_page_token(response.points[-1].id)
    return response
