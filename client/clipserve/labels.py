"""Labels and their prompt templates, and the label sets of this package."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources

from clipserve.inputs.text_encoding import utf8
from clipserve.safe_text import quoted

NAMES = ("cifar10", "imagenet1k")
"""Label sets in data/."""
ONLY_MEASURED = ("cifar100",)
"""Vocabularies in data/ that only `clipserve evaluate` uses."""
FLOAT_BITS = 127
"""Any integer with this many bits fits into a float32."""


@dataclass(frozen=True)
class NoneOfTheAbove:
    """An extra answer for images that match no label. It follows all labels."""

    name: str = ""
    """Its name in answers; empty means ``none of the above``."""
    prompts: tuple[str, ...] = ()
    """Complete prompts without braces, at most 100; the answer is then scored like a label. Empty: the server
    uses its negative words, several hundred names of things that are not similar to the labels."""
    threshold: float = 0.0
    """Cosine at or above which the answer counts as present, −1…1; needs a label set with thresholds."""


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of distinct labels."""

    names: tuple[str, ...]
    templates: tuple[str, ...] = ()
    """Prompts that contain `{}` once, for the label's name; empty means the server's `a photo of a {}.`"""
    thresholds: tuple[float, ...] = ()
    """Cosine at or above which a label counts as present: empty, or one for each label."""
    none_of_the_above: NoneOfTheAbove | None = None
    """An extra answer for images that match no label."""


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a data set as published. Two classes can have the same name."""

    classes: tuple[str, ...]
    templates: tuple[str, ...]

    def label_set(self) -> LabelSet:
        """The distinct names, in the order of their first classes."""
        return LabelSet(tuple(dict.fromkeys(self.classes)), self.templates)


@functools.cache
def vocabulary(name: str) -> Vocabulary:
    """Class names and templates: `cifar10` (10, 18), `cifar100` (100, 18) or `imagenet1k` (1,000, 80).

    Raises ValueError for other names.
    """
    if name not in (*NAMES, *ONLY_MEASURED):
        raise ValueError(f"no label set is named {quoted(name)}; available are {', '.join(NAMES)}")
    text = (resources.files("clipserve") / "data" / f"{name}.json").read_text(encoding="utf-8")
    classes = json.loads(text)
    return Vocabulary(tuple(classes["names"]), tuple(classes["templates"]))


def label_set(name: str) -> LabelSet:
    """A label set of this package: `cifar10` or `imagenet1k`.

    ImageNet has 1,000 classes but 998 labels: two names (missile, sunglasses) each belong to two classes.
    """
    return vocabulary(name).label_set()


def to_label_set(
    labels: Iterable[str] | LabelSet,
    templates: Sequence[str] | None = None,
    thresholds: Sequence[float] | float | None = None,
) -> LabelSet:
    """The labels argument of `classify` as a label set. The other arguments override those of a LabelSet."""
    if isinstance(labels, str) or isinstance(templates, str):
        raise TypeError("labels and templates are lists of str, not a single str")
    base = labels if isinstance(labels, LabelSet) else LabelSet(tuple(labels))
    for name in (*base.names, *(templates or ())):
        if not isinstance(name, str):
            raise TypeError(f"labels and templates are str, not {type(name).__name__}")
    if isinstance(thresholds, int | float):
        thresholds = [thresholds] * len(base.names)
    return LabelSet(
        base.names,
        base.templates if templates is None else tuple(templates),
        base.thresholds if thresholds is None else to_cosines(thresholds),
        base.none_of_the_above,
    )


def to_cosines(values: Sequence[float]) -> tuple[float, ...]:
    """Thresholds as floats. Raises ValueError for an integer that does not fit into one."""
    for i, value in enumerate(values):
        if isinstance(value, int) and value.bit_length() > FLOAT_BITS:
            raise ValueError(f"thresholds[{i}]: a threshold is a cosine, -1 to 1")
    return tuple(map(float, values))


def parse_ref(text: str) -> tuple[str, int]:
    """Name and version of a stored label set: `pets@3`, or `pets` for the latest (0). Raises ValueError."""
    name, at, version = utf8(text).partition("@")
    if not name or (at and not (version.isascii() and version.isdigit() and 0 < int(version) < 2**32)):
        raise ValueError(f"{quoted(text)} is not a stored label set; write NAME or NAME@VERSION, e.g. pets@3")
    return name, int(version or 0)
