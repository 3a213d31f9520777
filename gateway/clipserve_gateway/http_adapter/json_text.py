"""Reads the JSON of callers: strictly, and with a bound for the work."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.process.safe_text import safe_lines

MOST_VALUES = 500_000
"""A body of 16 MiB could have eight million values, which take a gigabyte in memory."""
FREE_BYTES = 64 << 10
"""The values of smaller bodies are not counted."""
MOST_DIGITS = 400
"""Longer numbers are refused: the time to read one grows with the square of its length."""
SHOWN = 80
"""Most characters of a caller's text in an error."""
SHOWN_PATH = 400
"""Most characters of a path in an error."""


def read_json(data: bytes) -> Any:
    """The document in a body. Raises InvalidInput, and LimitExceeded for too many values.

    Paths in these errors have the names that the body has.
    """
    if not data:
        raise InvalidInput("the body is empty; send a JSON object, at least {}")
    if len(data) > FREE_BYTES and most_values(data) > MOST_VALUES:
        raise LimitExceeded(
            f"the JSON has more than {MOST_VALUES} values, or commas and brackets in its texts; send less at "
            "a time",
            limit=MOST_VALUES,
        )
    try:
        return _Reading().document(data.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8: its byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise InvalidInput("the JSON is nested too deeply") from None


def most_values(data: bytes) -> int:
    """A bound for the number of values: each one but the first follows a comma or an opening bracket."""
    characters = np.frombuffer(data, np.uint8)
    return 1 + sum(int(np.count_nonzero(characters == mark)) for mark in b",[{")


def kind_of(value: Any) -> str:
    """What a value of a document is, for people."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), "a number")


def shown(text: str) -> str:
    """The beginning of a caller's text, safe to show."""
    return safe_lines(text[:SHOWN])


class _Refused:
    """Stands in a document for a value that is refused, until its path is known."""

    def __init__(self, message: str, key: str = "") -> None:
        """`key`: of the value's own field that the error is about."""
        self.message = message
        self.key = key


class _Reading:
    """Decodes one document."""

    def __init__(self) -> None:
        self._refused: _Refused | None = None

    def document(self, text: str) -> Any:
        """The document. Raises InvalidInput with the path that a refused value has in it."""
        # The functions in Python also let other threads run while a long text is read.
        decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_int=self._integer,
            parse_float=self._float,
            parse_constant=self._constant,
        )
        document = decoder.decode(text)
        if self._refused is None:
            return document
        path = (_path_of(self._refused, document) or "") + (self._refused.key and f".{self._refused.key}")
        path = path.removeprefix(".")
        if len(path) > SHOWN_PATH:
            path = f"{path[:SHOWN_PATH]}…"
        raise InvalidInput(self._refused.message, field=path)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Refused:
        fields = dict(pairs)
        if len(fields) == len(pairs):
            return fields
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        # Replaces an earlier one, which may be in this object, and then the document lacks it.
        twice = shown(key)
        self._refused = _Refused(f"the JSON has the key {twice!r} twice in one object", twice)
        return self._refused

    def _integer(self, digits: str) -> int | _Refused:
        return self._too_long(digits) or int(digits)

    def _float(self, digits: str) -> float | _Refused:
        if refused := self._too_long(digits):
            return refused
        number = float(digits)
        return self._refuse(f"the number {digits[:SHOWN]} is out of range") if math.isinf(number) else number

    def _constant(self, word: str) -> _Refused:
        return self._refuse(f"{word} is not JSON: numbers must be finite")

    def _too_long(self, digits: str) -> _Refused | None:
        if len(digits) <= MOST_DIGITS:
            return None
        return self._refuse(f"a number has {len(digits)} characters; the maximum is {MOST_DIGITS}")

    def _refuse(self, message: str) -> _Refused:
        if self._refused is None:
            self._refused = _Refused(message)
        return self._refused


def _path_of(wanted: _Refused, value: Any) -> str | None:
    """The path of the first place where it stands in a value, e.g. `.inputs[1].text`; None if it does not."""
    if value is wanted:
        return ""
    entries: Iterable[tuple[Any, Any]] = ()
    if type(value) is dict:
        entries = value.items()
    elif type(value) is list:
        entries = enumerate(value)
    for key, inner in entries:
        rest = _path_of(wanted, inner)
        if rest is not None:
            return (f".{shown(key)}" if type(value) is dict else f"[{key}]") + rest
    return None
