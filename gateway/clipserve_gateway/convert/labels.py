"""Label sets on the wire: those of a Classify, and those kept under names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from clipserve.v1 import clip_pb2, labels_pb2

from clipserve_gateway.collection.label_sets import LabelSetSummary
from clipserve_gateway.convert.common import check_bytes, check_text, write_time
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.inference.label_warnings import LabelWarning
from clipserve_gateway.inputs.clean_text import is_blank, without_entities
from clipserve_gateway.types import LabelSet, LabelSetRef, Limits, NoneOfTheAbove

DEFAULT_TEMPLATE = "a photo of a {}."
NONE_NAME = "none of the above"
MAX_NONE_PROMPTS = 100
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters that are not white space."""
BRACE = re.compile(r"[{}]")
LABEL_SET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


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
        if name in first_seen:
            raise InvalidInput(
                f"label {name[:100]!r} is already labels.names[{first_seen[name]}]", field=field
            )
        first_seen[name] = i
        check_label(name, limits, field)
        if is_blank(name):
            told = f"; of {name[:80]!r} nothing is left to be seen" if name.strip() else ""
            raise InvalidInput(f"a label must not be empty{told}", field=field)
    for i, template in enumerate(templates):
        check_template(template, limits, f"labels.templates[{i}]")
    check_prompts(names, templates, limits)
    none = None
    if labels.HasField("none_of_the_above"):
        none = read_none_of_the_above(labels.none_of_the_above, names, limits)
    return LabelSet(names, templates, read_thresholds(labels.thresholds, len(names)), none)


def check_label(name: str, limits: Limits, field: str) -> None:
    """LimitExceeded for a label of too many bytes (each answer repeats it), InvalidInput for a control
    character."""
    check_bytes("label", name, limits.max_label_bytes, field)
    check_characters("label", name, field)


def check_template(template: str, limits: Limits, field: str) -> None:
    """InvalidInput unless it has one `{}` and no other braces; LimitExceeded if it is too long."""
    check_text(template, limits, field)
    check_characters("template", template, field)
    if template.count("{}") != 1 or BRACE.search(without_entities(template.replace("{}", " "))):
        raise InvalidInput(
            f"a template needs exactly one {{}} where the label goes and no other braces of any kind, not "
            f"{template[:80]!r}",
            field=field,
        )


def check_characters(what: str, text: str, field: str) -> None:
    """InvalidInput for control characters other than white space: no language has them."""
    found = CONTROL.search(text)
    if found is not None:
        hint = "; text in UTF-16 must be made UTF-8 first" if found[0] == "\0" else ""
        raise InvalidInput(
            f"the {what} has a control character (U+{ord(found[0]):04X}) at position {found.start()}{hint}",
            field=field,
        )


def check_prompts(names: Sequence[str], templates: Sequence[str], limits: Limits) -> None:
    """LimitExceeded where every label in every template is more text than a message can hold."""
    size = size_of(names) * len(templates) + size_of(templates) * len(names)
    if size > limits.max_message_bytes:
        raise LimitExceeded(
            f"{len(names)} labels in {len(templates)} templates make prompts of {size} bytes in all; "
            f"at most {limits.max_message_bytes}",
            field="labels.templates",
            metadata={"limit": str(limits.max_message_bytes)},
        )


def size_of(texts: Sequence[str]) -> int:
    """Bytes, in UTF-8."""
    return sum(len(text.encode()) for text in texts)


def read_thresholds(thresholds: Sequence[float], labels: int) -> tuple[float, ...]:
    """No threshold, or one cosine for each label."""
    if thresholds and len(thresholds) != labels:
        raise InvalidInput(
            f"{len(thresholds)} thresholds for {labels} labels; give none or one for each",
            field="labels.thresholds",
        )
    for i, threshold in enumerate(thresholds):
        check_cosine(threshold, f"labels.thresholds[{i}]")
    return tuple(thresholds)


def read_none_of_the_above(
    none: clip_pb2.NoneOfTheAbove, names: Sequence[str], limits: Limits
) -> NoneOfTheAbove:
    """The answer for pictures that fit no label; its name must be none of theirs."""
    path = "labels.none_of_the_above"
    name, prompts = none.name or NONE_NAME, tuple(none.prompts)
    if name in names:
        raise InvalidInput(f"{name[:100]!r} is one of the labels", field=f"{path}.name")
    check_label(name, limits, f"{path}.name")
    if len(prompts) > MAX_NONE_PROMPTS:
        raise LimitExceeded(
            f"{len(prompts)} prompts; at most {MAX_NONE_PROMPTS} fit",
            field=f"{path}.prompts",
            metadata={"limit": str(MAX_NONE_PROMPTS)},
        )
    for i, prompt in enumerate(prompts):
        check_text(prompt, limits, f"{path}.prompts[{i}]")
        check_characters("prompt", prompt, f"{path}.prompts[{i}]")
        if BRACE.search(without_entities(prompt)):
            raise InvalidInput("write the whole prompt, without braces", field=f"{path}.prompts[{i}]")
    check_cosine(none.threshold, f"{path}.threshold")
    return NoneOfTheAbove(name, prompts, none.threshold)


def check_cosine(threshold: float, field: str) -> None:
    """InvalidInput unless it lies in -1…1."""
    if not (math.isfinite(threshold) and -1 <= threshold <= 1):
        raise InvalidInput("a threshold is a cosine, -1 to 1", field=field)


def read_name(name: str, field: str) -> str:
    """The name to keep a label set under."""
    if not LABEL_SET_NAME.fullmatch(name):
        raise InvalidInput(
            f"{name[:80]!r}: 1 to 128 letters, digits, `_`, `.` and `-`, beginning with a letter or `_`",
            field=field,
        )
    return name


def read_ref(ref: clip_pb2.LabelSetRef, field: str) -> LabelSetRef:
    """Name and version; version 0 is the latest."""
    return LabelSetRef(read_name(ref.name, f"{field}.name"), ref.version)


def write_ref(ref: LabelSetRef) -> clip_pb2.LabelSetRef:
    """Name and version."""
    return clip_pb2.LabelSetRef(name=ref.name, version=ref.version)


def write_labels(labels: LabelSet) -> clip_pb2.LabelSet:
    """A label set, with its defaults filled in."""
    written = clip_pb2.LabelSet(names=labels.names, templates=labels.templates, thresholds=labels.thresholds)
    none = labels.none_of_the_above
    if none is not None:
        written.none_of_the_above.name = none.name
        written.none_of_the_above.prompts.extend(none.prompts)
        written.none_of_the_above.threshold = none.threshold
    return written


WARNING_REASONS = {
    "same": clip_pb2.LABEL_WARNING_REASON_SAME,
    "cut": clip_pb2.LABEL_WARNING_REASON_CUT,
    "": clip_pb2.LABEL_WARNING_REASON_UNSPECIFIED,
}
MAX_WARNED_LABELS = 16


def write_warning(warning: LabelWarning) -> clip_pb2.LabelWarning:
    """What a person should know of some labels."""
    return clip_pb2.LabelWarning(
        reason=WARNING_REASONS[warning.reason],
        labels=warning.labels[:MAX_WARNED_LABELS],
        count=len(warning.labels),
        message=warning.message,
    )


def write_info(stored: LabelSetSummary) -> labels_pb2.LabelSetInfo:
    """What is known of a label set, without its labels."""
    return labels_pb2.LabelSetInfo(
        ref=write_ref(stored.ref),
        label_count=stored.label_count,
        template_count=stored.template_count,
        none_of_the_above=stored.none_of_the_above,
        content_hash=stored.content_hash,
        create_time=write_time(stored.create_time),
        versions=stored.versions,
    )
