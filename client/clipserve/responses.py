"""Response messages become results."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from clipserve.payload import TYPE_NAMES, read_embedding, read_payload
from clipserve.status import read_item
from clipserve.types import (
    Classification,
    Collection,
    Hit,
    LabelScore,
    Limits,
    ModelInfo,
    ModelRef,
    SearchResult,
    ServerInfo,
    StoredPoint,
)
from clipserve.v1 import clip_pb2, collection_pb2, common_pb2

MODES = {
    "softmax": clip_pb2.SCORE_MODE_SOFTMAX,
    "independent": clip_pb2.SCORE_MODE_INDEPENDENT,
}
MODE_NAMES = {number: name for name, number in MODES.items()}
METRICS = {"cosine": collection_pb2.METRIC_COSINE}
METRIC_NAMES = {number: name for name, number in METRICS.items()}


def read_model(model: common_pb2.ModelRef) -> ModelRef:
    """The model that answered."""
    return ModelRef(model.name, model.fingerprint, model.embed_dim)


def read_server_info(response: clip_pb2.GetServerInfoResponse) -> ServerInfo:
    """What the server can do."""
    return ServerInfo(
        version=response.version,
        models=tuple(read_model_info(model) for model in response.models),
        default_model=response.default_model,
        limits=Limits(**{name: getattr(response.limits, name) for name in Limits.__dataclass_fields__}),
    )


def read_model_info(model: clip_pb2.ModelInfo) -> ModelInfo:
    """One model of the server."""
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
    )


def read_classification(result: clip_pb2.ClassifyResult, rebase: Callable[[str], str]) -> Classification:
    """The labels of one image."""
    error = read_item(result.status, rebase)
    return Classification(tuple(read_label_score(score) for score in result.scores), error)


def read_label_score(score: clip_pb2.LabelScore) -> LabelScore:
    """One label of one image."""
    return LabelScore(
        label=score.label,
        index=score.index,
        probability=score.probability if score.HasField("probability") else None,
        cosine=score.cosine,
        above_threshold=score.above_threshold if score.HasField("above_threshold") else None,
    )


def read_search(response: clip_pb2.SearchResponse) -> SearchResult:
    """The hits, best first."""
    return SearchResult(
        hits=tuple(Hit(hit.id, hit.score, read_payload(hit.payload)) for hit in response.hits),
        model=read_model(response.model),
        truncated=response.truncated,
    )


def read_collection(collection: collection_pb2.Collection) -> Collection:
    """One collection."""
    return Collection(
        name=collection.name,
        model=read_model(collection.model),
        metric=METRIC_NAMES.get(collection.metric, "unknown"),
        schema={field.name: TYPE_NAMES.get(field.type, "unknown") for field in collection.schema},
        count=collection.count,
        create_time=collection.create_time.ToDatetime(dt.timezone.utc),
    )


def read_point(point: collection_pb2.Point) -> StoredPoint:
    """One stored point."""
    embedding = read_embedding(point.embedding) if point.HasField("embedding") else None
    return StoredPoint(point.id, read_payload(point.payload), embedding)
