"""Label sets as files: one label a line, or JSON with all of a label set. Every command reads them here."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import click
import numpy as np

from clipserve.inputs.text_encoding import lines_in
from clipserve.labels import LabelSet, NoneOfTheAbove
from clipserve.safe_text import quoted
from clipserve.tools.cli.listed import Listed, entries, from_lines

KEYS = ("names", "templates", "thresholds", "none_of_the_above")
NONE_KEYS = ("name", "prompts", "threshold")
TOLD = "info"
"""Printed by `labels get --json`, and passed over when that is read again."""
BEGINS_JSON = re.compile(r'\s*(?:\[[^\S\r\n]*(?:["\r\n]|\Z)|\{[^\S\r\n]*(?:[\r\n]|\Z))')
"""A bracket or brace alone on the first line, or a bracket and a quote."""


@dataclass(frozen=True)
class LabelFile:
    """A label set, and where its names and templates stand."""

    labels: LabelSet
    names: Listed
    templates: Listed = field(default_factory=Listed)

    def with_templates(self, templates: Listed) -> LabelFile:
        """The same with other templates, if there are any."""
        if not templates.texts:
            return self
        return LabelFile(replace(self.labels, templates=templates.texts), self.names, templates)


def read(text: str, source: str) -> LabelFile:
    """The label set in a text; click.UsageError, which names `source` and the line, for what holds none.

    JSON begins with a brace, or is a list of strings: see is_json. Anything else is one label a line: see
    from_lines.
    """
    try:
        found = read_json(text, source)
        if found is None:
            names = from_lines(text, source)
            found = LabelFile(LabelSet(names.texts), names)
    except Wrong as error:
        raise click.UsageError(f"{source}: {error}") from None
    if not found.names.texts:
        raise click.UsageError(f"{source} holds no labels; write one a line")
    found.names.check_distinct()
    return found


def read_prompts(text: str, source: str) -> Listed:
    """Prompts one a line, as labels are written; or a JSON list of strings. click.UsageError."""
    try:
        given = json_list(text, source)
    except Wrong as error:
        raise click.UsageError(f"{source}: {error}") from None
    return from_lines(text, source) if given is None else given


class Wrong(ValueError):
    """What is wrong with a file, in words that follow its name."""


def read_json(text: str, source: str) -> LabelFile | None:
    """The label set in JSON; None for text that is not meant to be JSON."""
    if not text.lstrip().startswith("{"):
        names = json_list(text, source)
        return None if names is None else LabelFile(LabelSet(names.texts), names)
    labels = read_document(parsed(text))
    return LabelFile(
        labels, entries(labels.names, source, "name"), entries(labels.templates, source, "template")
    )


def json_list(text: str, source: str) -> Listed | None:
    """The texts of a JSON list of strings; None for text that is not meant to be JSON."""
    meant = is_json(text, source)
    if not meant and not text.lstrip().startswith("["):
        return None
    try:
        found = parsed(text)
    except Wrong:
        if meant:
            raise
        return None
    return entries(texts_of(found, "the list" if isinstance(found, list) else "the JSON"), source, "entry")


def is_json(text: str, source: str) -> bool:
    """Whether a text is meant to be JSON, well-formed or not: `[red] car` is a label."""
    if not text.strip():
        return False
    return source.lower().endswith(".json") or BEGINS_JSON.match(text) is not None


def parsed(text: str) -> Any:
    """The JSON in a text; Wrong, with the line."""
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        line = len(lines_in(text[: error.pos] + "."))
        raise Wrong(
            f"line {line} is not JSON: {error.msg}; correct it, or write one entry a line, in quotes where "
            "it begins with a bracket"
        ) from None
    except Wrong:
        raise
    except ValueError:  # what Python says of thousands of digits
        raise Wrong("the JSON has a number of too many digits") from None
    except RecursionError:
        raise Wrong("the JSON has too many brackets in brackets") from None


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; Wrong where it has a key twice, of which JSON readers keep one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise Wrong(f"{next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return found


def read_document(found: dict[str, Any]) -> LabelSet:
    """A JSON document's label set; Wrong."""
    check_keys(found, (*KEYS, TOLD), "a label set")
    if "names" not in found:
        raise Wrong("names is missing: a list of labels")
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
        raise Wrong("thresholds is not a list of numbers")
    return LabelSet(
        texts_of(found["names"], "names"),
        texts_of(found.get("templates") or [], "templates"),
        tuple(number_of(value, f"thresholds[{i}]") for i, value in enumerate(thresholds)),
        none,
    )


def check_keys(found: Any, known: Sequence[str], what: str) -> None:
    """Wrong for keys that mean nothing here."""
    if not isinstance(found, dict):
        raise Wrong(f"{what} is not a JSON object with {', '.join(known)}")
    for key in found:
        if key not in known:
            raise Wrong(f"{what} has no {quoted(key)}; there are {', '.join(known)}")


def text_of(value: Any, what: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise Wrong(f"{what} is not a string")
    return value


def texts_of(values: Any, what: str) -> tuple[str, ...]:
    """Strings."""
    if not isinstance(values, list | tuple):
        raise Wrong(f"{what} is not a list of strings")
    return tuple(text_of(value, f"{what}[{i}]") for i, value in enumerate(values))


def number_of(value: Any, what: str) -> float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{what} is not a number")
    try:
        return float(value)
    except OverflowError:
        raise Wrong(f"{what} is far too large: a threshold is a cosine, -1 to 1") from None


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
