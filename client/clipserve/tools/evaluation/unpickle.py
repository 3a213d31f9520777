"""Reads pickles of plain data and arrays of numbers.

A pickle can call any function. Here it can call only our replacements for the functions that build arrays,
which store their arguments. So no code that the file chooses can run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from clipserve.tools.evaluation.dataset import DatasetError
from clipserve.tools.evaluation.plain_pickle import PlainUnpickler

NUMBERS = re.compile(r"[<>|=]?[biuf][1248]")
MAX_DIMENSIONS = 8
MAX_CODE = 8
"""Maximum characters of the code of an element type."""
MAX_MADE = 512 * 1024 * 1024
"""Limit of bytes that a pickle may encode from texts."""


class StoredType:
    """The element type of an array in a pickle."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = text(code)[:MAX_CODE]
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1:
            self.order = text(state[1])[:MAX_CODE]

    def dtype(self) -> np.dtype[Any]:
        """The numpy type. Raises DatasetError if it is not a plain number."""
        code = self.code if self.code[:1] in "<>|=" else f"{self.order}{self.code}"
        if not NUMBERS.fullmatch(code):
            raise DatasetError(f"a pickled array of type {code!r} is not read")
        return np.dtype(code)


class StoredArray:
    """An array in a pickle."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> npt.NDArray[Any]:
        """The array. Raises DatasetError if its parts do not fit together."""
        try:
            _, shape, kind, column_order, data = self.state
            dtype = kind.dtype()
            if not isinstance(data, bytes | bytearray):
                raise ValueError("its data are not bytes")
            numbers = np.frombuffer(data, dtype)
            if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS:
                raise ValueError("its shape is invalid")
            sides = [side if type(side) is int else -1 for side in shape]
            if min(sides, default=0) < 0 or numbers.size != math.prod(sides):
                raise ValueError("the shape does not fit the data")
            return numbers.reshape(sides, order="F" if column_order else "C")
        except DatasetError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"a pickled array is malformed: {error}") from error


def from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> StoredArray:
    """Replaces numpy's `_frombuffer`, which newer pickles call."""
    stored = StoredArray()
    stored.state = (1, shape, kind, order == "F", data)
    return stored


def stored_number(kind: Any, data: Any = b"") -> int | float | bool:
    """Replaces numpy's `scalar`, for numbers in lists of labels."""
    if not isinstance(kind, StoredType) or not isinstance(data, bytes):
        raise DatasetError("a pickled number is malformed")
    dtype = kind.dtype()
    if len(data) != dtype.itemsize:
        raise DatasetError("a pickled number is malformed: its bytes do not fit its type")
    number: int | float | bool = np.frombuffer(data, dtype)[0].item()
    return number


class Encoder:
    """Replaces `_codecs.encode`, which Python 3 uses for bytes in old protocols."""

    def __init__(self) -> None:
        self._left = MAX_MADE

    def __call__(self, value: Any, encoding: Any = "utf-8") -> bytes:
        """The bytes of a text. Raises DatasetError if all calls make too many bytes."""
        if not isinstance(value, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
            raise DatasetError("the pickle has text in an unsupported encoding")
        self._left -= len(value)
        if self._left < 0:
            raise DatasetError("the pickle creates more bytes than a data set needs")
        return value.encode(encoding)


def no_bytes(*content: Any) -> bytes:
    """Replaces `bytes`, which Python 3 uses for empty bytes in old protocols."""
    if content:
        raise DatasetError("the pickle calls bytes with arguments")
    return b""


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): StoredArray,
    ("numpy", "dtype"): StoredType,
    ("__builtin__", "bytes"): no_bytes,
    ("builtins", "bytes"): no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): StoredArray for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): stored_number for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): from_buffer for core in ("core", "_core")},
}


def load_plain(content: bytes) -> Any:
    """The value of a pickle: dicts, lists, numbers, texts, bytes, arrays. Raises DatasetError.

    Texts of Python 2 are bytes, tuples are lists. Time and memory grow at most linearly with the content.
    """
    functions = ALLOWED | {("_codecs", "encode"): Encoder()}
    try:
        return plain(PlainUnpickler(content, functions, (StoredType, StoredArray)).load())
    except DatasetError:
        raise
    # The reader raises errors of many kinds for damaged content.
    except Exception as error:
        raise DatasetError(f"not a readable pickle: {error or type(error).__name__}") from error


def plain(value: Any) -> Any:
    """The value with StoredArrays replaced by arrays and tuples by lists.

    Each part is converted once and without recursion: a few hundred bytes can refer to one list ten million
    times, or nest lists a hundred thousand deep.
    """
    made: dict[int, Any] = {}
    work: list[Any] = []

    def begun(part: Any) -> Any:
        if not isinstance(part, StoredArray | dict | list | tuple):
            return part
        if id(part) not in made:
            if isinstance(part, StoredArray):
                made[id(part)] = part.array()
            else:
                made[id(part)] = {} if isinstance(part, dict) else []
                work.append(part)
        return made[id(part)]

    result = begun(value)
    while work:
        part = work.pop()
        if isinstance(part, dict):
            made[id(part)].update((key, begun(item)) for key, item in part.items())
        else:
            made[id(part)].extend(map(begun, part))
    return result


def text(value: Any) -> str:
    """The text of Python 2 or 3; for other values, the name of the type."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else type(value).__name__
