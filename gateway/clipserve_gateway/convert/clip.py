"""Requests and responses of ClipService, except Embed and Search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from clipserve.v1 import clip_pb2

from clipserve_gateway.convert.common import (
    RESPONSE_BYTES,
    RESULT_BYTES,
    check_count,
    check_message_bytes,
    compute_hashes,
    read_each,
    read_image,
    read_top_k,
    write_image_rules,
    write_model,
)
from clipserve_gateway.convert.labels import (
    read_label_set_ref,
    read_labels,
    write_label_set_ref,
    write_warning,
)
from clipserve_gateway.convert.status import item_status
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.inference.classifier import ClassifyOutcome
from clipserve_gateway.inference.label_cache import Prepared
from clipserve_gateway.types import (
    Classified,
    Image,
    ImageRules,
    LabelSet,
    LabelSetRef,
    Limits,
    ModelSpec,
    ScoreMode,
)

DEFAULT_TOP_K = 5
PREPARE_MS = 1_000
MAX_PREPARE_MS = 10_000
SCORE_BYTES = 32
"""Of one score in a response without its label, at most."""

READ_MODES = {
    clip_pb2.SCORE_MODE_UNSPECIFIED: None,
    clip_pb2.SCORE_MODE_SOFTMAX: ScoreMode.SOFTMAX,
    clip_pb2.SCORE_MODE_INDEPENDENT: ScoreMode.INDEPENDENT,
}


@dataclass(frozen=True)
class ClassifyCall:
    """A validated Classify request."""

    model: str
    images: Sequence[Image]
    labels: LabelSet | None
    """None if the request names a stored label set."""
    label_set_ref: LabelSetRef | None
    top_k: int
    mode: ScoreMode | None
    """None means the model's own."""


@dataclass(frozen=True)
class PrepareCall:
    """A validated PrepareLabels request."""

    model: str
    labels: LabelSet | None
    label_set_ref: LabelSetRef | None
    seconds: float


def read_prepare(request: clip_pb2.PrepareLabelsRequest, limits: Limits) -> PrepareCall:
    """The request. Raises InvalidInput."""
    if request.max_milliseconds > MAX_PREPARE_MS:
        raise InvalidInput(
            f"max_milliseconds is {request.max_milliseconds}; the maximum is {MAX_PREPARE_MS}",
            field="max_milliseconds",
        )
    labels, label_set_ref = read_label_choice(request, limits)
    return PrepareCall(request.model, labels, label_set_ref, (request.max_milliseconds or PREPARE_MS) / 1000)


def write_prepared(
    spec: ModelSpec, prepared: Prepared, label_set_ref: LabelSetRef | None
) -> clip_pb2.PrepareLabelsResponse:
    """How many of the prompts are embedded."""
    return clip_pb2.PrepareLabelsResponse(
        model=write_model(spec),
        label_set=None if label_set_ref is None else write_label_set_ref(label_set_ref),
        total=prepared.total,
        done=prepared.done,
        encoded=prepared.encoded,
    )


def read_classify(request: clip_pb2.ClassifyRequest, limits: Limits) -> ClassifyCall:
    """The request; an error replaces an invalid image. Raises InvalidInput for errors of the whole call."""
    check_count(len(request.images), limits.max_items_per_call, "images")
    if request.score_mode not in READ_MODES:
        raise InvalidInput(
            f"score_mode {request.score_mode} is not known; use SCORE_MODE_SOFTMAX or SCORE_MODE_INDEPENDENT",
            field="score_mode",
        )
    labels, label_set_ref = read_label_choice(request, limits)
    images = read_each(read_image, request.images)
    compute_hashes(images)
    return ClassifyCall(
        model=request.model,
        images=images,
        labels=labels,
        label_set_ref=label_set_ref,
        top_k=read_top_k(request.top_k, DEFAULT_TOP_K),
        mode=READ_MODES[request.score_mode],
    )


def read_label_choice(
    request: clip_pb2.ClassifyRequest | clip_pb2.PrepareLabelsRequest, limits: Limits
) -> tuple[LabelSet, None] | tuple[None, LabelSetRef]:
    """Either the labels or the reference to a stored label set."""
    if request.HasField("labels") and request.HasField("label_set"):
        raise InvalidInput("set labels or label_set, not both", field="label_set")
    if request.HasField("label_set"):
        return None, read_label_set_ref(request.label_set, "label_set")
    return read_labels(request.labels, limits), None


def check_classify_answer(call: ClassifyCall, labels: LabelSet, limits: Limits) -> None:
    """Raises LimitExceeded if the response can be too large for a message.

    Counts the longest labels, because the best ones are not known yet. The SDK splits its requests by the
    same formula.
    """
    widths = sorted((len(name.encode()) for name in labels.answers), reverse=True)[: call.top_k]
    scores = sum(widths) + SCORE_BYTES * len(widths)
    size = RESPONSE_BYTES + len(call.images) * (scores + RESULT_BYTES)
    check_message_bytes(size, limits, "top_k", "Set a smaller top_k or send fewer images")


def write_classify(outcome: ClassifyOutcome, label_set_ref: LabelSetRef | None) -> bytes:
    """The encoded ClassifyResponse, in the order of the request. `label_set_ref` is None for inline labels.

    It is the concatenation of encoded parts, which protobuf parses as one message: a single large message
    object would need several times the memory.
    """
    parts = [
        clip_pb2.ClassifyResponse(results=[write_classified(item, f"images[{i}]")]).SerializeToString()
        for i, item in enumerate(outcome.items)
    ]
    rest = clip_pb2.ClassifyResponse(
        model=write_model(outcome.spec),
        score_mode=f"SCORE_MODE_{outcome.mode.name}",
        logit_scale=outcome.spec.logit_scale,
        logit_bias=outcome.spec.logit_bias,
        truncated_prompts=outcome.truncated_prompts,
        label_set=None if label_set_ref is None else write_label_set_ref(label_set_ref),
        warnings=map(write_warning, outcome.warnings),
    )
    return b"".join([*parts, rest.SerializeToString()])


def write_classified(item: Classified, field: str) -> clip_pb2.ClassifyResult:
    """The scores of one image, or its error."""
    result = clip_pb2.ClassifyResult(status=item_status(item.error, field))
    for score in item.scores:
        result.scores.add(
            label=score.label,
            index=score.index,
            probability=score.probability,
            cosine=score.cosine,
            above_threshold=score.above_threshold,
        )
    return result


def write_server_info(
    version: str,
    models: Sequence[tuple[ModelSpec, bool]],
    default_model: str,
    limits: Limits,
    engine: str,
    keeps_sources: bool,
    rules: ImageRules,
) -> clip_pb2.GetServerInfoResponse:
    """The models, limits and capabilities of the server."""
    return clip_pb2.GetServerInfoResponse(
        version=version,
        models=[
            clip_pb2.ModelInfo(
                ref=write_model(spec),
                ready=ready,
                architecture=spec.architecture,
                pretrained=spec.pretrained,
                image_size=spec.preprocess.square_side,
                image_height=spec.preprocess.height,
                image_width=spec.preprocess.width,
                resize=spec.preprocess.resize,
                interpolation=spec.preprocess.interpolation,
                context_length=spec.context_length,
                logit_scale=spec.logit_scale,
                logit_bias=spec.logit_bias,
                precision=spec.precision,
                device=spec.device,
                tokenizer=spec.tokenizer.kind,
                tokenizer_sha256=spec.tokenizer.sha256,
                text_clean=spec.tokenizer.clean,
                vocab_size=spec.tokenizer.vocab_size,
                license=spec.license,
                matryoshka_dims=spec.matryoshka_dims,
            )
            for spec, ready in models
        ],
        default_model=default_model,
        limits=clip_pb2.Limits(**asdict(limits)),
        engine=engine,
        keeps_sources=keeps_sources,
        restores_sources=True,
        inserts_new_points=True,
        image_rules=write_image_rules(rules),
    )
