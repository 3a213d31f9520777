"""Points on the wire: to write, to delete, to get, to scroll through and to count."""

from __future__ import annotations

from collections.abc import Sequence

from clipserve.v1 import collection_pb2, common_pb2

from clipserve_gateway.collection.points import NewPoint, Page, UpsertOutcome
from clipserve_gateway.collection.spec import CollectionSpec
from clipserve_gateway.convert.collections import write_model
from clipserve_gateway.convert.common import check_count, check_fits, check_text, hashed, read_image
from clipserve_gateway.convert.embedding import read_embedding, write_embedding
from clipserve_gateway.convert.filters import read_filter
from clipserve_gateway.convert.pages import write_page_token
from clipserve_gateway.convert.payload import payload_steps, read_payload, write_payload
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import InvalidInput, InvalidPayload, LimitExceeded
from clipserve_gateway.index.values import MAX_ID_BYTES, MAX_URI_BYTES, Filter, Point
from clipserve_gateway.types import EncodedImage, Floats, Limits, RawImage


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
    hashed(point.source for point in points if isinstance(point, NewPoint))
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
        if len(point.source_uri.encode()) > MAX_URI_BYTES:
            raise LimitExceeded(f"a source_uri has at most {MAX_URI_BYTES} bytes", field="source_uri")
        source, kept = read_source(point, limits), read_kept_source(point, collection, limits)
        return NewPoint(point.id, source, payload, point.source_uri, kept, point.must_be_new)
    except InvalidInput as error:
        return error


def read_source(point: collection_pb2.PointInput, limits: Limits) -> EncodedImage | RawImage | str | Floats:
    """What a point is made of."""
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
    """What a given embedding was made of; InvalidInput where it would be dropped without a word."""
    kind = point.WhichOneof("kept_source")
    if kind is None:
        return None
    if point.WhichOneof("source") != "embedding":
        raise InvalidInput(
            "it goes with an embedding only; images and texts are kept as they are", field=kind
        )
    if not collection.keep_sources:
        raise InvalidInput(f"collection {collection.name!r} does not keep its sources", field=kind)
    if kind == "kept_image":
        return read_image(point.kept_image, "kept_image.")
    check_text(point.kept_text, limits, "kept_text")
    return point.kept_text


def check_id(id: str, field: str) -> None:
    """1–512 bytes of UTF-8 without control characters."""
    if not 1 <= len(id.encode()) <= MAX_ID_BYTES:
        raise InvalidInput(f"an id has 1 to {MAX_ID_BYTES} bytes, not {len(id.encode())}", field=field)
    if any(character < " " or "\x7f" <= character < "\xa0" for character in id):
        raise InvalidInput("an id must not have control characters", field=field)


def write_upsert(
    outcome: UpsertOutcome, points: Sequence[NewPoint | InvalidInput], spec: CollectionSpec
) -> collection_pb2.UpsertPointsResponse:
    """What became of each point."""
    return collection_pb2.UpsertPointsResponse(
        statuses=[
            item_status(error, point_path(point, i))
            for i, (error, point) in enumerate(zip(outcome.statuses, points, strict=True))
        ],
        model=write_model(spec.serving),
        truncated=[i for i, cut in enumerate(outcome.truncated) if cut],
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
    request: collection_pb2.CountPointsRequest | collection_pb2.ScrollPointsRequest,
    collection: CollectionSpec,
    limits: Limits,
) -> Filter | None:
    """The filter, if there is one."""
    return read_filter(request.filter, collection.schema, limits) if request.HasField("filter") else None


def read_deletion(
    request: collection_pb2.DeletePointsRequest, collection: CollectionSpec, limits: Limits
) -> list[str] | Filter:
    """What to delete: points by id, or those that meet a filter."""
    if request.HasField("filter") == bool(request.ids):
        raise InvalidInput("set ids or filter, exactly one of them", field="ids")
    if request.HasField("filter"):
        return read_filter(request.filter, collection.schema, limits)
    return read_ids(request.ids, limits)


def write_point(point: Point) -> collection_pb2.Point:
    """A stored point."""
    written = collection_pb2.Point(
        id=point.id, payload=write_payload(point.payload), source_uri=point.source_uri
    )
    if point.embedding is not None:
        embedding = write_embedding(point.embedding, common_pb2.EMBEDDING_FORMAT_FLOAT32_LE)
        written.embedding.CopyFrom(embedding)
    if point.source is not None and point.source.kind == "image":
        written.image_content = point.source.content
    elif point.source is not None:
        written.text = point.source.content.decode()
    return written


def write_steps(points: Sequence[Point]) -> int:
    """About how many steps it takes to write points (see off_loop)."""
    sources = sum(len(point.source.content) for point in points if point.source is not None)
    return payload_steps([point.payload for point in points]) + sources // 256


def write_points(
    points: Sequence[Point], spec: CollectionSpec, limits: Limits
) -> collection_pb2.GetPointsResponse:
    """The points that were asked for by id; LimitExceeded where they are too large for a message."""
    response = collection_pb2.GetPointsResponse(
        points=map(write_point, points), model=write_model(spec.serving)
    )
    return check_fits(response, limits, "ids")


def write_scroll(page: Page, spec: CollectionSpec, limits: Limits) -> collection_pb2.ScrollPointsResponse:
    """A page of points; those that would make the message too large are left to the next one."""
    response = collection_pb2.ScrollPointsResponse(model=write_model(spec.serving))
    size, room = response.ByteSize(), limits.max_message_bytes - 4 * MAX_ID_BYTES
    more = page.more
    for point in page.points:
        written = write_point(point)
        # 8 bytes: the field's tag and length around the point.
        size += written.ByteSize() + 8
        if response.points and size > room:
            more = True
            break
        response.points.append(written)
    if more and response.points:
        response.next_page_token = write_page_token(response.points[-1].id)
    return response
