"""Calls of Classify and PrepareLabels that are messages, but ask for what cannot be had."""

from __future__ import annotations

import math

from clipserve.v1 import clip_pb2, common_pb2
from google.protobuf.message import Message

from testing.hostile.cases import ANSWERED, Call
from testing.hostile.requests import BAD, HUGE, INVALID, LIMIT, MEGABYTE, MISSING, call
from testing.hostile.world import LABELS, PICTURE

Image, RawImage = common_pb2.Image, common_pb2.RawImage


def classify(name: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """A Classify that is sound but for these fields."""

    def make() -> Message:
        facts: dict = {"images": [Image(content=PICTURE)], "labels": labels("a", "b")} | changes
        return clip_pb2.ClassifyRequest(**facts)

    return call(f"classify {name}", "ClipService/Classify", make, code, reason, field)


def prepare(name: str, field: str, reason: str = INVALID, code: str = BAD, **changes: object) -> Call:
    """A PrepareLabels that is sound but for these fields."""

    def make() -> Message:
        facts: dict = {"labels": labels("a", "b")} | changes
        return clip_pb2.PrepareLabelsRequest(**facts)

    return call(f"prepare labels: {name}", "ClipService/PrepareLabels", make, code, reason, field)


def labels(*names: str, none: clip_pb2.NoneOfTheAbove | None = None, **rest: object) -> clip_pb2.LabelSet:
    """A label set."""
    return clip_pb2.LabelSet(names=names, none_of_the_above=none, **rest)


def none(**facts: object) -> clip_pb2.LabelSet:
    """A label set with none of the above."""
    return labels("a", none=clip_pb2.NoneOfTheAbove(**facts))


CLASSIFY: list[Call] = [
    classify("no images", "images", images=[]),
    classify("257 images", "images", LIMIT, images=[Image(content=b"a")] * 257),
    classify("labels not set", "labels.names", labels=None),
    classify("no labels", "labels.names", labels=labels()),
    classify("labels and a label set", "label_set", label_set=clip_pb2.LabelSetRef(name=LABELS)),
    classify("a label set without name", "label_set.name", labels=None, label_set=clip_pb2.LabelSetRef()),
    classify(
        "a label set of a path", "label_set.name", labels=None, label_set=clip_pb2.LabelSetRef(name="../x")
    ),
    classify(
        "a label set that is not there",
        "label_set.name",
        "LABEL_SET_NOT_FOUND",
        MISSING,
        labels=None,
        label_set=clip_pb2.LabelSetRef(name="nothing"),
    ),
    classify(
        "a version that is not there",
        "label_set.version",
        "LABEL_SET_NOT_FOUND",
        MISSING,
        labels=None,
        label_set=clip_pb2.LabelSetRef(name=LABELS, version=2**32 - 1),
    ),
    classify("a label twice", "labels.names[2]", labels=labels("a", "b", "a")),
    classify("a label of nothing", "labels.names[0]", labels=labels("")),
    classify("a label of spaces", "labels.names[1]", labels=labels("a", " \t\u3000")),
    classify("labels of nothing that shows", "labels.names[0]", labels=labels("\u200b", "\ufeff", "\u202e")),
    classify("a label over a mebibyte", "labels.names[0]", LIMIT, labels=labels("a" * (2**20 + 1))),
    classify("a label of 4097 bytes", "labels.names[1]", LIMIT, labels=labels("a", "ä" * 2_048 + "b")),
    classify(
        "an answer over 64 MiB",
        "top_k",
        LIMIT,
        images=[Image(raw=RawImage(rgb=b"abc", width=1, height=1))] * 256,
        labels=labels(*(f"{i:05d}" + "a" * 500 for i in range(1_000))),
        top_k=HUGE,
    ),
    classify(
        "a none called by 4097 bytes", "labels.none_of_the_above.name", LIMIT, labels=none(name="a" * 4_097)
    ),
    classify("10001 labels", "labels.names", LIMIT, labels=labels(*map(str, range(10_001)))),
    classify(
        "100001 prompts",
        "labels.templates",
        LIMIT,
        labels=labels(*map(str, range(9_091)), templates=["{}"] * 11),
    ),
    classify("a template without place", "labels.templates[0]", labels=labels("a", templates=["a photo"])),
    classify(
        "a template of two places", "labels.templates[1]", labels=labels("a", templates=["{}", "{} {}"])
    ),
    classify("a template of another place", "labels.templates[0]", labels=labels("a", templates=["{0}"])),
    classify("a template of nothing", "labels.templates[0]", labels=labels("a", templates=[""])),
    classify(
        "a template over a mebibyte",
        "labels.templates[0]",
        LIMIT,
        labels=labels("a", templates=["{}" + "a" * 2**20]),
    ),
    classify(
        "ten thousand labels in a template of a megabyte",
        "labels.templates",
        LIMIT,
        labels=labels(*map(str, range(10_000)), templates=["{}" + MEGABYTE]),
    ),
    classify(
        "templates and labels of a megabyte",
        "labels.templates",
        LIMIT,
        labels=labels(
            *[str(i) + MEGABYTE[:4_000] for i in range(250)],
            templates=[str(i) + "{}" + MEGABYTE for i in range(25)],
        ),
    ),
    classify("one threshold of two", "labels.thresholds", labels=labels("a", "b", thresholds=[0.1])),
    classify("a threshold of NaN", "labels.thresholds[0]", labels=labels("a", thresholds=[math.nan])),
    classify("a threshold of 2", "labels.thresholds[0]", labels=labels("a", thresholds=[2])),
    classify("a threshold of −infinity", "labels.thresholds[0]", labels=labels("a", thresholds=[-math.inf])),
    classify("none called like a label", "labels.none_of_the_above.name", labels=none(name="a")),
    classify(
        "none of 101 prompts", "labels.none_of_the_above.prompts", LIMIT, labels=none(prompts=["p"] * 101)
    ),
    classify("none with a place", "labels.none_of_the_above.prompts[0]", labels=none(prompts=["{}"])),
    classify(
        "none over a mebibyte",
        "labels.none_of_the_above.prompts[0]",
        LIMIT,
        labels=none(prompts=["a" * (2**20 + 1)]),
    ),
    classify(
        "none with a threshold of NaN", "labels.none_of_the_above.threshold", labels=none(threshold=math.nan)
    ),
    classify("top_k −1", "top_k", top_k=-1),
    classify("top_k −2³¹", "top_k", top_k=-HUGE - 1),
    classify("score mode 99", "score_mode", score_mode=99),
    classify("score mode −1", "score_mode", score_mode=-1),
    classify("by a model that is not there", "model", "MODEL_NOT_FOUND", MISSING, model="nope"),
    classify("by a model of a megabyte", "model", "MODEL_NOT_FOUND", MISSING, model=MEGABYTE),
    classify("top_k 2³¹−1", "", ANSWERED, "OK", top_k=HUGE),
    classify("labels of NUL", "labels.names[0]", labels=labels("\0", "\x01", "\x7f")),
    classify("labels of control characters", "labels.names[1]", labels=labels("a", "b\x9b")),
    classify("labels of white space that is control", "", ANSWERED, "OK", labels=labels("a\tb", "a\x0bc\n")),
    classify("a template of two braces", "labels.templates[0]", labels=labels("a", templates=["{{}}"])),
    classify("a template of a name", "labels.templates[0]", labels=labels("a", templates=["a {} {x}"])),
    classify("a template with a NUL", "labels.templates[0]", labels=labels("a", templates=["{}\0"])),
    classify("none of other braces", "labels.none_of_the_above.prompts[0]", labels=none(prompts=["{x}"])),
    classify("labels that are one to the model", "", ANSWERED, "OK", labels=labels("a", "A", " a ", "a\n")),
    prepare("nothing", "labels.names", labels=labels()),
    prepare("no labels at all", "labels.names", labels=None),
    prepare("for a minute", "max_milliseconds", max_milliseconds=60_000),
    prepare("for ever", "max_milliseconds", max_milliseconds=2**32 - 1),
    prepare("labels twice", "label_set", label_set=clip_pb2.LabelSetRef(name="pets")),
    prepare("by a model that is not there", "model", "MODEL_NOT_FOUND", MISSING, model="nope"),
    prepare("sound ones", "", ANSWERED, "OK"),
    classify("labels that are templates", "", ANSWERED, "OK", labels=labels("{}", "{}{}", "%s")),
    classify("none of prompts of nothing", "", ANSWERED, "OK", labels=none(prompts=["", " "])),
]
