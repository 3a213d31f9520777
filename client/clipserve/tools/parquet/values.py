"""Converts values of Parquet columns for payloads. Arrays are as `footer.open_parquet` reads them."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from clipserve.types import PayloadValue
from clipserve.wire.payload import INT64

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
"""Microseconds in a unit. Nanoseconds are treated apart."""
DAY = 86_400_000_000
NOT_UTF8 = "a text that is not valid UTF-8"


def read_column(array: Any, kind: str) -> list[PayloadValue | ValueError | None]:
    """The payload values of a column: None for null, a ValueError for values that payloads cannot have.

    NaN counts as null, as in data frames. Timestamps without a zone are UTC; nanoseconds are cut off.
    """
    array = getattr(array, "storage", array)
    if kind in ("string", "string_list"):
        return texts_of(array)
    if kind == "timestamp":
        return [None if value is None else read_moment(value) for value in microseconds(array)]
    readers: dict[str, Callable[[Any], PayloadValue | ValueError | None]] = {
        "bool": bool,
        "int": read_int,
        "double": read_double,
    }
    return [None if value is None else readers[kind](value) for value in array.to_pylist()]


def texts_of(array: Any) -> list[Any]:
    """Texts, lists of texts, or UUIDs as text: None for null, a ValueError for invalid UTF-8."""
    array = getattr(array, "storage", array)
    if kinds.is_list(array.type):
        bare = array.cast(pa.list_(pa.binary()))
        return [None if values is None else read_texts(values) for values in bare.to_pylist()]
    if kinds.is_fixed_size_binary(array.type):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in array.to_pylist()]
    return [None if value is None else read_text(value) for value in array.cast(pa.binary()).to_pylist()]


def ids_of(array: Any) -> list[str | ValueError | None]:
    array = getattr(array, "storage", array)
    if kinds.is_integer(array.type) or kinds.is_decimal(array.type):
        return [None if value is None else str(int(value)) for value in array.to_pylist()]
    return texts_of(array)


def read_text(value: bytes) -> str | ValueError:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return ValueError(NOT_UTF8)


def read_texts(values: list[bytes | None]) -> list[str] | ValueError:
    """The texts, or a ValueError if one is null or invalid."""
    texts = []
    for value in values:
        text = ValueError("a list with a null") if value is None else read_text(value)
        if isinstance(text, ValueError):
            return text
        texts.append(text)
    return texts


def read_int(value: Any) -> int | ValueError:
    """The number, or a ValueError if it does not fit into 64 bits."""
    return int(value) if int(value) in INT64 else ValueError(f"{value} does not fit into 64 bits")


def read_double(value: Any) -> float | ValueError | None:
    """The number; None for NaN; a ValueError for infinity and whole numbers that a double rounds."""
    if math.isnan(value):
        return None
    if isinstance(value, int | Decimal) and value == int(value):
        return float(value) if int(float(value)) == value else ValueError(f"{value} is not exact as a double")
    return float(value) if math.isfinite(value) else ValueError(f"{value} is not finite")


def microseconds(array: Any) -> list[int | None]:
    """Microseconds since 1970, of any size. Arrow's own conversion would overflow silently."""
    if kinds.is_date32(array.type):
        scale, bare = DAY, array.cast(pa.int32())
    elif kinds.is_date64(array.type):
        scale, bare = UNITS["ms"], array.cast(pa.int64())
    else:
        scale, bare = UNITS.get(array.type.unit, 0), array.cast(pa.int64())
    return [
        None if value is None else value * scale if scale else value // 1_000 for value in bare.to_pylist()
    ]


def read_moment(microseconds: int) -> dt.datetime | ValueError:
    """The timestamp, or a ValueError if it is out of range."""
    try:
        return EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        return ValueError("a timestamp outside of the years 1 to 9999")
