"""Label sets in protobuf: inline labels of Classify, and stored label sets."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from clipserve.v1 import clip_pb2, labels_pb2

from clipserve_gateway.collection.label_sets import StoredLabelSet
from clipserve_gateway.convert.common import check_bytes, check_limit, check_text, write_time
from clipserve_gateway.errors import InvalidInput
from clipserve_gateway.inference.label_warnings import LabelWarning
from clipserve_gateway.inputs.clean_text import is_blank, without_entities
from clipserve_gateway.types import LabelSet, LabelSetRef, Limits, NoneOfTheAbove

DEFAULT_TEMPLATE = "a photo of a {}."
NONE_NAME = "none of the above"
MAX_NONE_PROMPTS = 100
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters other than white space."""
BRACE = re.compile(r"[{}]")
LABEL_SET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


def read_labels(labels: clip_pb2.LabelSet, limits: Limits) -> LabelSet:
    """The labels: distinct names, and templates with one `{}` each. Raises InvalidInput or LimitExceeded."""
    names, templates = tuple(labels.names), tuple(labels.templates) or (DEFAULT_TEMPLATE,)
    if not names:
        raise InvalidInput("give at least one label", field="labels.names")
    check_limit("the number of labels", len(names), limits.max_labels, "labels.names")
    prompts = f"the number of prompts ({len(names)} labels × {len(templates)} templates)"
    check_limit(prompts, len(names) * len(templates), limits.max_prompts, "labels.templates")
    first_seen: dict[str, int] = {}
    for i, name in enumerate(names):
        field = f"labels.names[{i}]"
        if name in first_seen:
            raise InvalidInput(
                f"label {name[:100]!r} appears twice; it is already labels.names[{first_seen[name]}]",
                field=field,
            )
        first_seen[name] = i
        check_label(name, limits, field)
        if is_blank(name):
            hint = f"; {name[:80]!r} has no visible characters" if name.strip() else ""
            raise InvalidInput(f"a label must not be empty{hint}", field=field)
    for i, template in enumerate(templates):
        check_template(template, limits, f"labels.templates[{i}]")
    check_prompts_size(names, templates, limits)
    none = None
    if labels.HasField("none_of_the_above"):
        none = read_none_of_the_above(labels.none_of_the_above, names, limits)
    return LabelSet(names, templates, read_thresholds(labels.thresholds, len(names)), none)


def check_label(name: str, limits: Limits, field: str) -> None:
    """Raises LimitExceeded for a label that is too long (responses repeat it), InvalidInput for control
    characters."""
    check_bytes("label", name, limits.max_label_bytes, field)
    check_characters("label", name, field)


def check_template(template: str, limits: Limits, field: str) -> None:
    """Raises InvalidInput unless it has one `{}` and no other braces, LimitExceeded if it is too long."""
    check_text(template, limits, field)
    check_characters("template", template, field)
    if template.count("{}") != 1 or BRACE.search(without_entities(template.replace("{}", " "))):
        raise InvalidInput(
            f"template {template[:80]!r} is not valid: it needs exactly one {{}}, where the label goes, and "
            "no other braces of any kind",
            field=field,
        )


def check_characters(what: str, text: str, field: str) -> None:
    """Raises InvalidInput for control characters other than white space."""
    match = CONTROL.search(text)
    if match is not None:
        hint = "; convert UTF-16 text to UTF-8" if match[0] == "\0" else ""
        raise InvalidInput(
            f"the {what} has a control character (U+{ord(match[0]):04X}) at position {match.start()}{hint}",
            field=field,
        )


def check_prompts_size(names: Sequence[str], templates: Sequence[str], limits: Limits) -> None:
    """Raises LimitExceeded if all prompts together have more bytes than a message can hold."""
    size = utf8_bytes(names) * len(templates) + utf8_bytes(templates) * len(names)
    what = f"the size of the prompts ({len(names)} labels × {len(templates)} templates) in bytes"
    check_limit(what, size, limits.max_message_bytes, "labels.templates")


def utf8_bytes(texts: Sequence[str]) -> int:
    """Total bytes of the texts in UTF-8."""
    return sum(len(text.encode()) for text in texts)


def read_thresholds(thresholds: Sequence[float], labels: int) -> tuple[float, ...]:
    """The thresholds: none, or one cosine per label."""
    if thresholds and len(thresholds) != labels:
        raise InvalidInput(
            f"there are {len(thresholds)} thresholds for {labels} labels; give one per label or none",
            field="labels.thresholds",
        )
    for i, threshold in enumerate(thresholds):
        check_cosine(threshold, f"labels.thresholds[{i}]")
    return tuple(thresholds)


def read_none_of_the_above(
    none: clip_pb2.NoneOfTheAbove, names: Sequence[str], limits: Limits
) -> NoneOfTheAbove:
    """None of the above; its name must differ from all labels."""
    path = "labels.none_of_the_above"
    name, prompts = none.name or NONE_NAME, tuple(none.prompts)
    if name in names:
        raise InvalidInput(f"{name[:100]!r} is also a label; choose another name", field=f"{path}.name")
    check_label(name, limits, f"{path}.name")
    check_limit("the number of prompts", len(prompts), MAX_NONE_PROMPTS, f"{path}.prompts")
    for i, prompt in enumerate(prompts):
        check_text(prompt, limits, f"{path}.prompts[{i}]")
        check_characters("prompt", prompt, f"{path}.prompts[{i}]")
        if BRACE.search(without_entities(prompt)):
            raise InvalidInput("write the complete prompt, without braces", field=f"{path}.prompts[{i}]")
    check_cosine(none.threshold, f"{path}.threshold")
    return NoneOfTheAbove(name, prompts, none.threshold)


def check_cosine(threshold: float, field: str) -> None:
    """Raises InvalidInput unless the threshold is between -1 and 1."""
    if not (math.isfinite(threshold) and -1 <= threshold <= 1):
        raise InvalidInput(f"the threshold is {threshold:g}; it is a cosine, -1 to 1", field=field)


def read_name(name: str, field: str) -> str:
    """The name of a label set."""
    if not LABEL_SET_NAME.fullmatch(name):
        raise InvalidInput(
            f"name {name[:80]!r} is not valid: use 1 to 128 letters, digits, `_`, `.` and `-`, beginning "
            "with a letter or `_`",
            field=field,
        )
    return name


def read_label_set_ref(ref: clip_pb2.LabelSetRef, field: str) -> LabelSetRef:
    """Name and version; version 0 is the latest."""
    return LabelSetRef(read_name(ref.name, f"{field}.name"), ref.version)


def write_label_set_ref(ref: LabelSetRef) -> clip_pb2.LabelSetRef:
    """Name and version."""
    return clip_pb2.LabelSetRef(name=ref.name, version=ref.version)


def write_labels(labels: LabelSet) -> clip_pb2.LabelSet:
    """A label set, with defaults filled in."""
    message = clip_pb2.LabelSet(names=labels.names, templates=labels.templates, thresholds=labels.thresholds)
    none = labels.none_of_the_above
    if none is not None:
        message.none_of_the_above.name = none.name
        message.none_of_the_above.prompts.extend(none.prompts)
        message.none_of_the_above.threshold = none.threshold
    return message


MAX_WARNED_LABELS = 16


def write_warning(warning: LabelWarning) -> clip_pb2.LabelWarning:
    """A warning about some of the labels."""
    return clip_pb2.LabelWarning(
        reason=f"LABEL_WARNING_REASON_{warning.reason.upper() or 'UNSPECIFIED'}",
        labels=warning.labels[:MAX_WARNED_LABELS],
        count=len(warning.labels),
        message=warning.message,
    )


def write_info(stored: StoredLabelSet) -> labels_pb2.LabelSetInfo:
    """A label set without its labels, which can have tens of megabytes."""
    return labels_pb2.LabelSetInfo(
        ref=write_label_set_ref(stored.ref),
        label_count=len(stored.labels.names),
        template_count=len(stored.labels.templates),
        none_of_the_above=stored.labels.none_of_the_above is not None,
        content_hash=stored.content_hash,
        create_time=write_time(stored.create_time),
        versions=stored.versions,
    )
