"""Converts response messages into results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

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


def read_fields(kind: type[T], message: Any) -> T:
    """A dataclass whose fields have the names of the message's fields."""
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: getattr(message, name) for name in names})


def read_model(model: common_pb2.ModelRef) -> ModelRef:
    return read_fields(ModelRef, model)


def read_server_info(response: clip_pb2.GetServerInfoResponse) -> ServerInfo:
    return ServerInfo(
        version=response.version,
        models=tuple(read_model_info(model) for model in response.models),
        default_model=response.default_model,
        limits=read_fields(Limits, response.limits),
        engine=response.engine,
        keeps_sources=response.keeps_sources,
        restores_sources=response.restores_sources,
        inserts_new_points=response.inserts_new_points,
        image_rules=read_fields(ImageRules, response.image_rules),
    )


def read_model_info(model: clip_pb2.ModelInfo) -> ModelInfo:
    return ModelInfo(
        ref=read_model(model.ref),
        ready=model.ready,
        architecture=model.architecture,
        pretrained=model.pretrained,
        image_size=model.image_size,
        context_length=model.context_length,
        logit_scale=model.logit_scale,
        logit_bias=model.logit_bias if model.HasField("logit_bias") else None,
        precision=model.precision,
        device=model.device,
        tokenizer=model.tokenizer,
        tokenizer_sha256=model.tokenizer_sha256,
        text_clean=model.text_clean,
        vocab_size=model.vocab_size,
        # Older servers tell only the side of a square.
        image_height=model.image_height or model.image_size,
        image_width=model.image_width or model.image_size,
        resize=model.resize or "shortest",
        interpolation=model.interpolation or "bicubic",
        license=model.license,
        matryoshka_dims=tuple(model.matryoshka_dims),
    )


def read_classification(result: clip_pb2.ClassifyResult, rebase: Callable[[str], str]) -> Classification:
    error = read_item(result.status, rebase)
    return Classification(tuple(read_label_score(score) for score in result.scores), error)


def read_label_score(score: clip_pb2.LabelScore) -> LabelScore:
    return LabelScore(
        label=score.label,
        index=score.index,
        probability=score.probability if score.HasField("probability") else None,
        cosine=score.cosine,
        above_threshold=score.above_threshold if score.HasField("above_threshold") else None,
    )


def read_search(response: clip_pb2.SearchResponse) -> SearchResult:
    return SearchResult(
        hits=tuple(read_hit(hit) for hit in response.hits),
        model=read_model(response.model),
        truncated=response.truncated,
        incomplete=response.incomplete,
        weak_match=response.weak_match,
    )


def read_hit(hit: clip_pb2.SearchHit) -> Hit:
    return Hit(
        id=hit.id,
        score=hit.score,
        payload=read_payload(hit.payload),
        percentile=hit.percentile if hit.HasField("percentile") else None,
        duplicates=tuple(read_hit(duplicate) for duplicate in hit.duplicates),
    )


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
