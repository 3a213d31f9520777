"""Reads the JSON of callers: strictly, and with a bound for the work."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

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


def read_json(data: bytes) -> Any:
    """The document in a body. Raises InvalidInput, and LimitExceeded for too many values."""
    if not data:
        raise InvalidInput("the body is empty; send a JSON object, at least {}")
    if len(data) > FREE_BYTES and most_values(data) > MOST_VALUES:
        raise LimitExceeded(
            f"the JSON has more than {MOST_VALUES} values, or commas and brackets in its texts; send less at "
            "a time",
            limit=MOST_VALUES,
        )
    try:
        return DECODER.decode(data.decode())
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        twice = shown(key)
        raise InvalidInput(f"the JSON has the key {twice!r} twice in one object", field=twice)
    return fields


def _integer(digits: str) -> int:
    return int(_short(digits))


def _float(digits: str) -> float:
    number = float(_short(digits))
    if math.isinf(number):
        raise InvalidInput(f"the number {digits[:SHOWN]} is out of range")
    return number


def _short(digits: str) -> str:
    if len(digits) > MOST_DIGITS:
        raise InvalidInput(f"a number has {len(digits)} characters; the maximum is {MOST_DIGITS}")
    return digits


def _constant(word: str) -> NoReturn:
    raise InvalidInput(f"{word} is not JSON: numbers must be finite")


# The functions in Python also let other threads run while a long text is read.
DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
