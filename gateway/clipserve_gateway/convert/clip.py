"""Requests and answers of ClipService, apart from Search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from clipserve.v1 import clip_pb2, common_pb2

from clipserve_gateway.classify import ClassifyOutcome
from clipserve_gateway.convert.common import (
    check_count,
    check_text,
    read_each,
    read_image,
    read_top_k,
    write_model,
)
from clipserve_gateway.convert.embedding import write_embedding
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.embed import EmbedOutcome
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.types import (
    EncodedImage,
    Image,
    Input,
    LabelSet,
    Limits,
    ModelSpec,
    RawImage,
    ScoreMode,
)

DEFAULT_TEMPLATE = "a photo of a {}."
DEFAULT_TOP_K = 5

READ_MODES = {
    clip_pb2.SCORE_MODE_UNSPECIFIED: ScoreMode.SOFTMAX,
    clip_pb2.SCORE_MODE_SOFTMAX: ScoreMode.SOFTMAX,
    clip_pb2.SCORE_MODE_INDEPENDENT: ScoreMode.INDEPENDENT,
}
WRITTEN_MODES = {
    ScoreMode.SOFTMAX: clip_pb2.SCORE_MODE_SOFTMAX,
    ScoreMode.INDEPENDENT: clip_pb2.SCORE_MODE_INDEPENDENT,
}


@dataclass(frozen=True)
class ClassifyCall:
    """A Classify request, checked."""

    model: str
    images: Sequence[Image]
    labels: LabelSet
    top_k: int
    mode: ScoreMode


@dataclass(frozen=True)
class EmbedCall:
    """An Embed request, checked."""

    model: str
    inputs: Sequence[Input]
    normalize: bool
    format: int


def read_classify(request: clip_pb2.ClassifyRequest, limits: Limits) -> ClassifyCall:
    """Raises InvalidInput for what is wrong with the whole call; images are checked one by one."""
    check_count(len(request.images), limits.max_items_per_call, "images")
    if request.score_mode not in READ_MODES:
        raise InvalidInput(f"score_mode {request.score_mode} is not known", field="score_mode")
    return ClassifyCall(
        model=request.model,
        images=read_each(read_image, request.images),
        labels=read_labels(request.labels, limits),
        top_k=read_top_k(request.top_k, DEFAULT_TOP_K),
        mode=READ_MODES[request.score_mode],
    )


def read_labels(labels: clip_pb2.LabelSet, limits: Limits) -> LabelSet:
    """Distinct non-empty names and templates with one `{}` each; InvalidInput or LimitExceeded otherwise."""
    names, templates = tuple(labels.names), tuple(labels.templates) or (DEFAULT_TEMPLATE,)
    if not names:
        raise InvalidInput("name at least one label", field="labels.names")
    if len(names) > limits.max_labels:
        raise LimitExceeded(
            f"{len(names)} labels; at most {limits.max_labels} fit into one call",
            field="labels.names",
            metadata={"limit": str(limits.max_labels)},
        )
    if len(names) * len(templates) > limits.max_prompts:
        raise LimitExceeded(
            f"{len(names)} labels × {len(templates)} templates; at most {limits.max_prompts} prompts fit",
            field="labels.templates",
            metadata={"limit": str(limits.max_prompts)},
        )
    first_seen: dict[str, int] = {}
    for i, name in enumerate(names):
        field = f"labels.names[{i}]"
        if not name.strip():
            raise InvalidInput("a label must not be empty", field=field)
        if name in first_seen:
            raise InvalidInput(
                f"label {name[:100]!r} is already labels.names[{first_seen[name]}]", field=field
            )
        first_seen[name] = i
        check_text(name, limits, field)
    for i, template in enumerate(templates):
        field = f"labels.templates[{i}]"
        if template.count("{}") != 1:
            raise InvalidInput("a template needs exactly one {} where the label goes", field=field)
        check_text(template, limits, field)
    return LabelSet(names, templates, read_thresholds(labels.thresholds, len(names)))


def read_thresholds(thresholds: Sequence[float], labels: int) -> tuple[float, ...]:
    """No threshold, or one cosine for each label."""
    if thresholds and len(thresholds) != labels:
        raise InvalidInput(
            f"{len(thresholds)} thresholds for {labels} labels; give none or one for each",
            field="labels.thresholds",
        )
    for i, threshold in enumerate(thresholds):
        if not (math.isfinite(threshold) and -1 <= threshold <= 1):
            raise InvalidInput("a threshold is a cosine, -1 to 1", field=f"labels.thresholds[{i}]")
    return tuple(thresholds)


def write_classify(outcome: ClassifyOutcome, mode: ScoreMode) -> clip_pb2.ClassifyResponse:
    """The answer, in the order of the request."""
    return clip_pb2.ClassifyResponse(
        results=[
            clip_pb2.ClassifyResult(
                status=item_status(item.error, f"images[{i}]"),
                scores=[clip_pb2.LabelScore(**asdict(score)) for score in item.scores],
            )
            for i, item in enumerate(outcome.items)
        ],
        model=write_model(outcome.spec),
        score_mode=WRITTEN_MODES[mode],
        logit_scale=outcome.spec.logit_scale,
        truncated_prompts=outcome.truncated_prompts,
    )


def read_embed(request: clip_pb2.EmbedRequest, limits: Limits) -> EmbedCall:
    """Raises InvalidInput for what is wrong with the whole call; inputs are checked one by one."""
    check_count(len(request.inputs), limits.max_items_per_call, "inputs")
    if request.format not in common_pb2.EmbeddingFormat.values():
        raise InvalidInput(f"format {request.format} is not known", field="format")

    def read_input(item: clip_pb2.EmbedInput) -> EncodedImage | RawImage | str:
        kind = item.WhichOneof("input")
        if kind == "image":
            return read_image(item.image, "image.")
        if kind == "text":
            check_text(item.text, limits, "text")
            return item.text
        raise InvalidInput("set image or text")

    return EmbedCall(
        model=request.model,
        inputs=read_each(read_input, request.inputs),
        normalize=not request.raw,
        format=request.format,
    )


def write_embed(outcome: EmbedOutcome, call: EmbedCall) -> clip_pb2.EmbedResponse:
    """The answer, in the order of the request."""
    return clip_pb2.EmbedResponse(
        results=[
            clip_pb2.EmbedResult(
                status=item_status(item.error, input_path(call.inputs[i], i)),
                embedding=None if item.embedding is None else write_embedding(item.embedding, call.format),
                truncated=item.truncated,
            )
            for i, item in enumerate(outcome.items)
        ],
        model=write_model(outcome.spec),
        normalized=call.normalize,
    )


def input_path(item: Input, i: int) -> str:
    """Where the i-th input's own errors lie; refused inputs know their field themselves."""
    return f"inputs[{i}].image" if isinstance(item, EncodedImage | RawImage) else f"inputs[{i}]"


def write_server_info(
    version: str, models: Sequence[tuple[ModelSpec, bool]], default_model: str, limits: Limits
) -> clip_pb2.GetServerInfoResponse:
    """What the server can do."""
    return clip_pb2.GetServerInfoResponse(
        version=version,
        models=[
            clip_pb2.ModelInfo(
                ref=write_model(spec),
                ready=ready,
                architecture=spec.architecture,
                pretrained=spec.pretrained,
                image_size=spec.image_size,
                context_length=spec.context_length,
                logit_scale=spec.logit_scale,
                logit_bias=spec.logit_bias,
                precision=spec.precision,
            )
            for spec, ready in models
        ],
        default_model=default_model,
        limits=clip_pb2.Limits(**asdict(limits)),
    )
