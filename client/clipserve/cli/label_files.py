"""Label sets as files: one label a line, or JSON with all that a label set has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from clipserve.labels import LabelSet, NoneOfTheAbove

KEYS = ("names", "templates", "thresholds", "none_of_the_above")
NONE_KEYS = ("name", "prompts", "threshold")
TOLD = "info"
"""Printed by `labels get --json`, and passed over when that is read again."""


def read(text: str) -> LabelSet:
    """The label set; click.UsageError for what is none."""
    if text.lstrip().startswith("{"):
        try:
            return read_document(json.loads(text))
        except json.JSONDecodeError as error:
            raise wrong(f"line {error.lineno} is no JSON: {error.msg}") from None
    lines = (line.strip() for line in text.splitlines())
    return LabelSet(tuple(line for line in lines if line and not line.startswith("#")))


def read_document(found: dict[str, Any]) -> LabelSet:
    """A JSON document's label set."""
    check_keys(found, (*KEYS, TOLD), "a label set")
    if "names" not in found:
        raise wrong("names is missing: a list of labels")
    none = found.get("none_of_the_above") or None
    if none is True:
        none = {}
    if none is not None:
        check_keys(none, NONE_KEYS, "none_of_the_above")
        none = NoneOfTheAbove(
            text_of(none.get("name", ""), "none_of_the_above.name"),
            texts_of(none.get("prompts", ()), "none_of_the_above.prompts"),
            number_of(none.get("threshold", 0.0), "none_of_the_above.threshold"),
        )
    thresholds = found.get("thresholds") or []
    if not isinstance(thresholds, list):
        raise wrong("thresholds is no list of numbers")
    return LabelSet(
        texts_of(found["names"], "names"),
        texts_of(found.get("templates") or [], "templates"),
        tuple(number_of(value, f"thresholds[{i}]") for i, value in enumerate(thresholds)),
        none,
    )


def check_keys(found: Any, known: Sequence[str], what: str) -> None:
    """click.UsageError for keys that mean nothing here."""
    if not isinstance(found, dict):
        raise wrong(f"{what} is no JSON object with {', '.join(known)}")
    for key in found:
        if key not in known:
            raise wrong(f"{what} has no {key!r}; there are {', '.join(known)}")


def text_of(value: Any, what: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise wrong(f"{what} is no string")
    return value


def texts_of(values: Any, what: str) -> tuple[str, ...]:
    """Strings."""
    if not isinstance(values, list | tuple):
        raise wrong(f"{what} is no list of strings")
    return tuple(text_of(value, f"{what}[{i}]") for i, value in enumerate(values))


def number_of(value: Any, what: str) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(f"{what} is no number")
    return float(value)


def wrong(message: str) -> click.UsageError:
    """The error."""
    return click.UsageError(f"the file holds no labels: {message}")


def document(labels: LabelSet) -> dict[str, Any]:
    """The label set as `read` reads it."""
    found: dict[str, Any] = {"names": list(labels.names), "templates": list(labels.templates)}
    if labels.thresholds:
        found["thresholds"] = [short(value) for value in labels.thresholds]
    none = labels.none_of_the_above
    if none is not None:
        found["none_of_the_above"] = {
            "name": none.name,
            "prompts": list(none.prompts),
            "threshold": short(none.threshold),
        }
    return found


def short(value: float) -> float:
    """The shortest number that is the same in float32, as which it travels: 0.3, not 0.30000001192."""
    return float(str(np.float32(value)))
