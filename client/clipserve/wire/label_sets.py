"""Converts label sets to messages and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from clipserve.inputs.text_encoding import utf8
from clipserve.labels import LabelSet, NoneOfTheAbove, parse_ref
from clipserve.types import LabelSetInfo, LabelWarning
from clipserve.v1 import clip_pb2, labels_pb2


def write_labels(labels: LabelSet) -> clip_pb2.LabelSet:
    """The message of a label set. Raises ValueError, with the field, for invalid values."""
    none = labels.none_of_the_above
    try:
        message = clip_pb2.LabelSet(
            names=labels.names, templates=labels.templates, thresholds=labels.thresholds
        )
        if none is not None:
            message.none_of_the_above.CopyFrom(
                clip_pb2.NoneOfTheAbove(name=none.name, prompts=none.prompts, threshold=none.threshold)
            )
        return message
    except UnicodeEncodeError:
        check_texts(labels)
        raise
    except OverflowError:
        raise ValueError("a threshold is a cosine, -1 to 1") from None


def check_texts(labels: LabelSet) -> None:
    """Raises NotText for the first text that cannot be encoded in UTF-8."""
    none = labels.none_of_the_above or NoneOfTheAbove()
    texts = {
        "labels": labels.names,
        "labels.templates": labels.templates,
        "none_of_the_above.name": (none.name,),
        "none_of_the_above.prompts": none.prompts,
    }
    for name, values in texts.items():
        for i, text in enumerate(values):
            utf8(text, name if name.endswith(".name") else f"{name}[{i}]")


def prepare_request(labels: LabelSet | str, model: str) -> clip_pb2.PrepareLabelsRequest:
    """The request for given labels, or for a stored label set (`pets@3`)."""
    if isinstance(labels, LabelSet):
        return clip_pb2.PrepareLabelsRequest(model=utf8(model, "model"), labels=write_labels(labels))
    return clip_pb2.PrepareLabelsRequest(model=utf8(model, "model"), label_set=write_ref(labels))


def read_labels(labels: clip_pb2.LabelSet) -> LabelSet:
    none = labels.none_of_the_above
    return LabelSet(
        tuple(labels.names),
        tuple(labels.templates),
        tuple(labels.thresholds),
        NoneOfTheAbove(none.name, tuple(none.prompts), none.threshold)
        if labels.HasField("none_of_the_above")
        else None,
    )


def write_ref(label_set: str) -> clip_pb2.LabelSetRef:
    """The message of a stored label set's name, with or without a version. Raises ValueError."""
    name, version = parse_ref(label_set)
    return clip_pb2.LabelSetRef(name=name, version=version)


def read_ref(ref: clip_pb2.LabelSetRef) -> str:
    """Name and version, e.g. `pets@3`."""
    return f"{ref.name}@{ref.version}"


def read_info(info: labels_pb2.LabelSetInfo) -> LabelSetInfo:
    return LabelSetInfo(
        name=info.ref.name,
        version=info.ref.version,
        label_count=info.label_count,
        template_count=info.template_count,
        none_of_the_above=info.none_of_the_above,
        content_hash=info.content_hash,
        create_time=info.create_time.ToDatetime(dt.timezone.utc),
        versions=tuple(info.versions),
    )


REASONS = {
    clip_pb2.LABEL_WARNING_REASON_SAME: "same",
    clip_pb2.LABEL_WARNING_REASON_CUT: "cut",
}


def read_warnings(warnings: Iterable[clip_pb2.LabelWarning]) -> tuple[LabelWarning, ...]:
    """The server's warnings. A reason that this client does not know becomes an empty string."""
    return tuple(
        LabelWarning(REASONS.get(warning.reason, ""), tuple(warning.labels), warning.count, warning.message)
        for warning in warnings
    )
