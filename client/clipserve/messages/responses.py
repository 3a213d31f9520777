"""Converts response messages into results."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor

from clipserve.types import (
    Classification,
    Hit,
    ImageRules,
    LabelScore,
    Limits,
    ModelInfo,
    ModelRef,
    SearchResult,
    ServerInfo,
    StoredPoint,
)
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2
from clipserve.wire.embeddings import read_embedding
from clipserve.wire.payload import read_payload
from clipserve.wire.status import read_item

T = TypeVar("T")

MODES = {
    "softmax": clip_pb2.SCORE_MODE_SOFTMAX,
    "independent": clip_pb2.SCORE_MODE_INDEPENDENT,
}
MODE_NAMES = {number: name for name, number in MODES.items()}


def read_fields(kind: type[T], message: Any, **given: Any) -> T:
    """A dataclass whose fields have the names of the message's fields, except the `given` ones.

    An optional field that is not set becomes None.
    """
    absent = {name for name in optional_fields(message.DESCRIPTOR) if not message.HasField(name)}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a dataclass
        if field.name not in given:
            given[field.name] = None if field.name in absent else getattr(message, field.name)
    return kind(**given)


@functools.cache
def optional_fields(message: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in message.fields if field.has_presence)


def read_model(model: common_pb2.ModelRef) -> ModelRef:
    return read_fields(ModelRef, model)


def read_server_info(response: clip_pb2.GetServerInfoResponse) -> ServerInfo:
    return read_fields(
        ServerInfo,
        response,
        models=tuple(map(read_model_info, response.models)),
        limits=read_fields(Limits, response.limits),
        image_rules=read_fields(ImageRules, response.image_rules),
    )


def read_model_info(model: clip_pb2.ModelInfo) -> ModelInfo:
    return read_fields(
        ModelInfo,
        model,
        ref=read_model(model.ref),
        # Older servers tell only the side of a square.
        image_height=model.image_height or model.image_size,
        image_width=model.image_width or model.image_size,
        resize=model.resize or "shortest",
        interpolation=model.interpolation or "bicubic",
        matryoshka_dims=tuple(model.matryoshka_dims),
    )


def read_classification(result: clip_pb2.ClassifyResult, rebase: Callable[[str], str]) -> Classification:
    error = read_item(result.status, rebase)
    return Classification(tuple(read_fields(LabelScore, score) for score in result.scores), error)


def read_search(response: clip_pb2.SearchResponse) -> SearchResult:
    hits = tuple(map(read_hit, response.hits))
    return read_fields(SearchResult, response, hits=hits, model=read_model(response.model))


def read_hit(hit: clip_pb2.SearchHit) -> Hit:
    duplicates = tuple(map(read_hit, hit.duplicates))
    return read_fields(Hit, hit, payload=read_payload(hit.payload), duplicates=duplicates)


def read_point(point: collection_pb2.Point) -> StoredPoint:
    embedding = read_embedding(point.embedding) if point.HasField("embedding") else None
    kind = point.WhichOneof("source")
    return StoredPoint(
        id=point.id,
        payload=read_payload(point.payload),
        embedding=embedding,
        image=point.image_content if kind == "image_content" else None,
        text=point.text if kind == "text" else None,
        source_uri=point.source_uri,
    )
