"""Files of label sets: one label a line, or JSON."""

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
INFO_KEY = "info"
"""Key that `labels get --json` adds and `read` ignores."""
BEGINS_JSON = re.compile(r'\s*(?:\[[^\S\r\n]*(?:["\r\n]|\Z)|\{[^\S\r\n]*(?:[\r\n]|\Z))')
"""A bracket or brace alone on the first line, or a bracket and a quote."""


@dataclass(frozen=True)
class LabelFile:
    """A label set, and the places of its names and templates."""

    labels: LabelSet
    names: Listed
    templates: Listed = field(default_factory=Listed)

    def with_templates(self, templates: Listed) -> LabelFile:
        """The same label set with these templates; unchanged if there are none."""
        if not templates.texts:
            return self
        return LabelFile(replace(self.labels, templates=templates.texts), self.names, templates)


def read(text: str, source: str) -> LabelFile:
    """The label set in a text. Raises click.UsageError, which names `source` and the line.

    The text is JSON (see is_json) or has one label a line (see from_lines).
    """
    try:
        label_file = read_json(text, source)
        if label_file is None:
            names = from_lines(text, source)
            label_file = LabelFile(LabelSet(names.texts), names)
    except InvalidLabelFile as error:
        raise click.UsageError(f"{source}: {error}") from None
    if not label_file.names.texts:
        raise click.UsageError(f"{source} has no labels; write one a line")
    label_file.names.check_distinct()
    return label_file


def read_prompts(text: str, source: str) -> Listed:
    """Prompts, one a line, or a JSON list of strings. Raises click.UsageError."""
    try:
        given = json_list(text, source)
    except InvalidLabelFile as error:
        raise click.UsageError(f"{source}: {error}") from None
    return from_lines(text, source) if given is None else given


class InvalidLabelFile(ValueError):
    """What is wrong with a file; messages print it after the file's name."""


def read_json(text: str, source: str) -> LabelFile | None:
    """The label set in JSON; None if the text is not meant to be JSON."""
    if not text.lstrip().startswith("{"):
        names = json_list(text, source)
        return None if names is None else LabelFile(LabelSet(names.texts), names)
    labels = read_document(parsed(text))
    return LabelFile(
        labels, entries(labels.names, source, "name"), entries(labels.templates, source, "template")
    )


def json_list(text: str, source: str) -> Listed | None:
    """The texts of a JSON list of strings; None if the text is not meant to be JSON."""
    meant = is_json(text, source)
    if not meant and not text.lstrip().startswith("["):
        return None
    try:
        document = parsed(text)
    except InvalidLabelFile:
        if meant:
            raise
        return None
    return entries(
        texts_of(document, "the list" if isinstance(document, list) else "the JSON"), source, "entry"
    )


def is_json(text: str, source: str) -> bool:
    """Whether a text is meant to be JSON, even if malformed. `[red] car` is a label."""
    if not text.strip():
        return False
    return source.lower().endswith(".json") or BEGINS_JSON.match(text) is not None


def parsed(text: str) -> Any:
    """The parsed JSON. Raises InvalidLabelFile, with the line."""
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        line = len(lines_in(text[: error.pos] + "."))
        raise InvalidLabelFile(
            f"line {line} is not valid JSON: {error.msg}; correct it, or write one entry a line and quote "
            "entries that begin with a bracket"
        ) from None
    except InvalidLabelFile:
        raise
    except ValueError:  # Python limits the digits of a number
        raise InvalidLabelFile("the JSON has a number with too many digits") from None
    except RecursionError:
        raise InvalidLabelFile("the JSON is nested too deep") from None


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises InvalidLabelFile for a key that occurs twice."""
    object = dict(pairs)
    if len(object) < len(pairs):
        keys = [key for key, _ in pairs]
        raise InvalidLabelFile(f"{next(key for key in keys if keys.count(key) > 1)!r} occurs twice")
    return object


def read_document(document: dict[str, Any]) -> LabelSet:
    """The label set of a JSON document. Raises InvalidLabelFile."""
    check_keys(document, (*KEYS, INFO_KEY), "a label set")
    if "names" not in document:
        raise InvalidLabelFile("names is missing; it is the list of labels")
    none = document.get("none_of_the_above") or None
    if none is True:
        none = {}
    if none is not None:
        check_keys(none, NONE_KEYS, "none_of_the_above")
        none = NoneOfTheAbove(
            text_of(none.get("name", ""), "none_of_the_above.name"),
            texts_of(none.get("prompts", ()), "none_of_the_above.prompts"),
            number_of(none.get("threshold", 0.0), "none_of_the_above.threshold"),
        )
    thresholds = document.get("thresholds") or []
    if not isinstance(thresholds, list):
        raise InvalidLabelFile("thresholds is not a list of numbers")
    return LabelSet(
        texts_of(document["names"], "names"),
        texts_of(document.get("templates") or [], "templates"),
        tuple(number_of(value, f"thresholds[{i}]") for i, value in enumerate(thresholds)),
        none,
    )


def check_keys(document: Any, known: Sequence[str], what: str) -> None:
    """Raises InvalidLabelFile unless `document` is an object with no other keys than `known`."""
    if not isinstance(document, dict):
        raise InvalidLabelFile(f"{what} must be a JSON object with {', '.join(known)}")
    for key in document:
        if key not in known:
            raise InvalidLabelFile(f"{what} has no key {quoted(key)}; its keys are {', '.join(known)}")


def text_of(value: Any, what: str) -> str:
    """The value if it is a string. Raises InvalidLabelFile."""
    if not isinstance(value, str):
        raise InvalidLabelFile(f"{what} must be a string")
    return value


def texts_of(values: Any, what: str) -> tuple[str, ...]:
    """The values if they are a list of strings. Raises InvalidLabelFile."""
    if not isinstance(values, list | tuple):
        raise InvalidLabelFile(f"{what} must be a list of strings")
    return tuple(text_of(value, f"{what}[{i}]") for i, value in enumerate(values))


def number_of(value: Any, what: str) -> float:
    """The value if it is a number. Raises InvalidLabelFile."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidLabelFile(f"{what} must be a number")
    try:
        return float(value)
    except OverflowError:
        raise InvalidLabelFile(f"{what} is too large; a threshold is a cosine, -1 to 1") from None


def document(labels: LabelSet) -> dict[str, Any]:
    """The label set as a JSON document that `read` reads."""
    content: dict[str, Any] = {"names": list(labels.names), "templates": list(labels.templates)}
    if labels.thresholds:
        content["thresholds"] = [short(value) for value in labels.thresholds]
    none = labels.none_of_the_above
    if none is not None:
        content["none_of_the_above"] = {
            "name": none.name,
            "prompts": list(none.prompts),
            "threshold": short(none.threshold),
        }
    return content


def short(value: float) -> float:
    """The shortest number with the same float32, which the server stores: 0.3, not 0.30000001192."""
    return float(str(np.float32(value)))
