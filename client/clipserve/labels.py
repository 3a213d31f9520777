"""Labels and the prompts they are put into; and the label sets that come with this package."""

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
"""Vocabularies in data/ that `clipserve evaluate` needs alone."""
FLOAT_BITS = 127
"""Bits of the largest integers that a float32 surely holds."""


@dataclass(frozen=True)
class NoneOfTheAbove:
    """One more answer, for pictures that no label fits; it stands after all labels."""

    name: str = ""
    """What it is called in answers; empty means ``none of the above``."""
    prompts: tuple[str, ...] = ()
    """Whole prompts, without braces, at most 100, by which it is scored like a label. None lets the server's
    negative words stand for it: several hundred names of things that are far from the labels."""
    threshold: float = 0.0
    """Cosine from which it counts as present, −1…1; used where the label set has thresholds."""


@dataclass(frozen=True)
class LabelSet:
    """Distinct labels, in order."""

    names: tuple[str, ...]
    templates: tuple[str, ...] = ()
    """Prompts with one `{}` each where a label goes; none means the server's `a photo of a {}.`"""
    thresholds: tuple[float, ...] = ()
    """Cosine from which a label counts as present: none, or one for each label."""
    none_of_the_above: NoneOfTheAbove | None = None
    """One more answer, for pictures that no label fits."""


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a data set, as published: two classes may bear one name."""

    classes: tuple[str, ...]
    templates: tuple[str, ...]

    def label_set(self) -> LabelSet:
        """Its distinct names, in the order of their first classes."""
        return LabelSet(tuple(dict.fromkeys(self.classes)), self.templates)


@functools.cache
def vocabulary(name: str) -> Vocabulary:
    """Class names and templates: `cifar10` (10, 18), `cifar100` (100, 18) or `imagenet1k` (1,000, 80).

    ValueError for others.
    """
    if name not in (*NAMES, *ONLY_MEASURED):
        raise ValueError(f"no label set {quoted(name)}; there are {', '.join(NAMES)}")
    text = (resources.files("clipserve") / "data" / f"{name}.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return Vocabulary(tuple(found["names"]), tuple(found["templates"]))


def label_set(name: str) -> LabelSet:
    """A label set that comes with this package: `cifar10` or `imagenet1k`.

    Two pairs of ImageNet's 1,000 classes bear one name each (missile, sunglasses): 998 labels remain.
    """
    return vocabulary(name).label_set()


def to_label_set(
    labels: Iterable[str] | LabelSet,
    templates: Sequence[str] | None = None,
    thresholds: Sequence[float] | float | None = None,
) -> LabelSet:
    """What `classify` was given, as a label set; templates and thresholds given apart win."""
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
    """Thresholds as floats; ValueError for an integer that is too large for one."""
    for i, value in enumerate(values):
        if isinstance(value, int) and value.bit_length() > FLOAT_BITS:
            raise ValueError(f"thresholds[{i}]: a threshold is a cosine, -1 to 1")
    return tuple(map(float, values))


def parse_ref(text: str) -> tuple[str, int]:
    """Name and version of a stored label set: `pets@3`, or `pets` for the latest (0); ValueError."""
    name, at, version = utf8(text).partition("@")
    if not name or (at and not (version.isascii() and version.isdigit() and 0 < int(version) < 2**32)):
        raise ValueError(
            f"{quoted(text)} is no stored label set; write NAME or NAME@VERSION, for example pets@3"
        )
    return name, int(version or 0)
