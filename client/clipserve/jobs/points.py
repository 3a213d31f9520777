"""Write, delete and get lists of points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from clipserve.errors import FailedPrecondition, InvalidInput
from clipserve.inputs.text_encoding import utf8
from clipserve.jobs.base import Job, OnError, StreamMethod
from clipserve.jobs.inputs import read_image, read_text
from clipserve.messages.requests import (
    ITEM_OVERHEAD,
    Capacity,
    Chunk,
    check_list,
    item_bytes,
    rebaser,
    request_capacity,
)
from clipserve.messages.responses import read_point
from clipserve.types import Point, ServerInfo, StoredPoint, UpsertResult
from clipserve.v1 import collection_pb2
from clipserve.wire.embeddings import write_embedding
from clipserve.wire.images import write_image
from clipserve.wire.payload import write_payload
from clipserve.wire.status import read_item

MAX_ID_BYTES = 512
MAX_URI_BYTES = 2048


class UpsertJob(Job[UpsertResult]):
    """Adds points, and replaces points whose ids exist."""

    method = "UpsertPoints"
    stream = StreamMethod("UpsertPointsStream", collection_pb2.UpsertPointsStreamRequest)

    def __init__(
        self,
        collection: str,
        points: Iterable[Point],
        *,
        fingerprint: str = "",
        on_error: OnError = "raise",
    ) -> None:
        check_list(points, "points", "Point")
        super().__init__("points", points, on_error)
        self._collection = collection
        self._fingerprint = fingerprint
        self._position_by_id: dict[str, int] = {}
        self._written_count = 0
        self._truncated: list[int] = []

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        return request_capacity(info.limits, batch_size, answer_bytes=2048)

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        """One point. Raises InvalidInput for a repeated id: the server may process requests in any order."""
        if not isinstance(item, Point):
            raise TypeError(f"a point is a clipserve.Point, not {type(item).__name__}")
        if (item.image is not None and item.text is not None) or (
            item.image is None and item.text is None and item.embedding is None
        ):
            raise ValueError("a point needs exactly one of image, text and embedding")
        first = self._position_by_id.setdefault(utf8(item.id), self.total - 1)
        if first != self.total - 1:
            raise InvalidInput(f"id {item.id[:80]!r} is already used by points[{first}]", field="id")
        message = collection_pb2.PointInput(
            id=item.id,
            payload=write_payload(item.payload),
            source_uri=utf8(item.source_uri),
            must_be_new=item.must_be_new,
        )
        if item.must_be_new and not info.inserts_new_points:
            raise FailedPrecondition(
                "the server is too old for must_be_new; update the server, or leave out must_be_new"
            )
        if item.embedding is not None:
            message.embedding.CopyFrom(write_embedding(item.embedding))
            write_kept_source(message, item, info)
        elif item.image is not None:
            message.image.CopyFrom(read_image(item.image, info))
        elif item.text is not None:
            message.text = read_text(item.text, info)
            self._texts.add(f"points[{self.total - 1}].text", item.text)
        return message, item_bytes(message)

    def request(self, values: Sequence[Any]) -> collection_pb2.UpsertPointsRequest:
        return collection_pb2.UpsertPointsRequest(
            collection=self._collection, points=values, fingerprint=self._fingerprint
        )

    def add_response(self, chunk: Chunk, response: collection_pb2.UpsertPointsResponse) -> None:
        self._check_model(response.model)
        self._truncated += [chunk.positions[i] for i in response.truncated]
        rebase = rebaser(self.name, chunk.positions)
        for position, status in zip(chunk.positions, response.statuses, strict=True):
            error = read_item(status, rebase)
            if error is None:
                self._written_count += 1
            else:
                self.errors[position] = error

    def outcome(self) -> UpsertResult:
        return UpsertResult(
            self._written_count, self._model, dict(sorted(self.errors.items())), tuple(self._truncated)
        )


def write_kept_source(message: collection_pb2.PointInput, point: Point, info: ServerInfo) -> None:
    """Writes the image or text of a point with an embedding, if it has one."""
    if point.image is None and point.text is None:
        return
    if not info.restores_sources:
        raise FailedPrecondition(
            "the server is too old to store an image or text with a given embedding; update the server, or "
            "leave out one of them"
        )
    if point.image is not None:
        # Pixels are stored as PNG, which may have more bytes than the limit for files.
        message.kept_image.CopyFrom(write_image(point.image, info.limits.max_message_bytes))
    elif point.text is not None:
        message.kept_text = read_text(point.text, info)


class IdsJob(Job[Any]):
    """A call over ids."""

    def __init__(self, collection: str, ids: Iterable[str]) -> None:
        check_list(ids, "ids", "str")
        super().__init__("ids", ids)
        self._collection = collection

    def write(self, item: Any, info: ServerInfo) -> tuple[Any, int]:
        if not isinstance(item, str):
            raise TypeError(f"an id is a str, not {type(item).__name__}")
        return item, len(utf8(item).encode()) + ITEM_OVERHEAD


class DeletePointsJob(IdsJob):
    """Deletes points by id. The result is the number of points that existed."""

    method = "DeletePoints"
    deleted = 0

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """Ids are small, so requests use the server's limit instead of the client's batch size."""
        return request_capacity(info.limits, info.limits.max_items_per_call)

    def request(self, values: Sequence[Any]) -> collection_pb2.DeletePointsRequest:
        return collection_pb2.DeletePointsRequest(collection=self._collection, ids=values)

    def add_response(self, chunk: Chunk, response: collection_pb2.DeletePointsResponse) -> None:
        self.deleted += response.deleted

    def outcome(self) -> int:
        return self.deleted


class GetPointsJob(IdsJob):
    """Gets points by id, in the order of the ids. Ids without a point are skipped."""

    method = "GetPoints"

    def __init__(
        self,
        collection: str,
        ids: Iterable[str],
        *,
        with_embeddings: bool = False,
        with_sources: bool = False,
    ) -> None:
        super().__init__(collection, ids)
        self._with_embeddings = with_embeddings
        self._with_sources = with_sources
        self._points: list[StoredPoint] = []

    def capacity(self, info: ServerInfo, batch_size: int) -> Capacity:
        """A response has whole payloads, and embeddings and sources if requested."""
        limits = info.limits
        answer_bytes = limits.max_payload_bytes + MAX_ID_BYTES + MAX_URI_BYTES + 1024
        if self._with_embeddings:
            answer_bytes += max((model.ref.embed_dim for model in info.models), default=0) * 4
        if self._with_sources:
            answer_bytes += max(limits.max_image_bytes, limits.max_text_bytes)
        return request_capacity(limits, limits.max_items_per_call, answer_bytes=answer_bytes)

    def request(self, values: Sequence[Any]) -> collection_pb2.GetPointsRequest:
        return collection_pb2.GetPointsRequest(
            collection=self._collection,
            ids=values,
            with_embeddings=self._with_embeddings,
            with_sources=self._with_sources,
        )

    def add_response(self, chunk: Chunk, response: collection_pb2.GetPointsResponse) -> None:
        self._points.extend(read_point(point) for point in response.points)

    def outcome(self) -> tuple[StoredPoint, ...]:
        return tuple(self._points)
