"""Columns of any Parquet file become payload values."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from clipserve.parquet.layout import PAYLOAD, SOURCE, SOURCE_KIND, SOURCE_URI, FileError, FileFacts
from clipserve.payload import INT64
from clipserve.types import PayloadValue

FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class Columns:
    """Which column is what."""

    id: str
    embedding: str
    payload: dict[str, str] = field(default_factory=dict)
    """Column of each payload field."""
    schema: dict[str, str] = field(default_factory=dict)
    """Type of each payload field."""
    source_uri: str | None = None
    source: str | None = None
    source_kind: str | None = None
    ignored: tuple[str, ...] = ()
    """Columns that a payload cannot hold."""


def choose_columns(
    schema: Any, id_column: str, embedding_column: str, facts: FileFacts | None = None
) -> Columns:
    """What the columns of a file are; FileError where id or embedding are not there or of no use."""
    for name, option in ((id_column, "--id-column"), (embedding_column, "--embedding-column")):
        if name not in schema.names:
            listed = ", ".join(schema.names) or "none"
            raise FileError(f"there is no column {name!r}; the columns are {listed}: name it with {option}")
    if not (is_text(schema.field(id_column).type) or kinds.is_integer(schema.field(id_column).type)):
        raise FileError(f"column {id_column!r} holds no ids: it is of type {schema.field(id_column).type}")
    if not is_embedding(schema.field(embedding_column).type):
        found = schema.field(embedding_column).type
        raise FileError(f"column {embedding_column!r} holds no lists of numbers: it is of type {found}")
    payload: dict[str, str] = {}
    types: dict[str, str] = {}
    ignored = []
    special = special_columns(schema)
    for column in schema:
        own = facts is not None and column.name.startswith(PAYLOAD)
        if column.name in (id_column, embedding_column, *special.values()):
            continue
        name = column.name.removeprefix(PAYLOAD)
        kind = payload_type(column.type)
        taken = {other.lower() for other in payload}
        foreign = not own and name.startswith(PANDAS_INDEX)
        usable = FIELD.fullmatch(name) and not foreign and name.lower() not in taken
        if kind is None or not usable:
            ignored.append(column.name)
        else:
            payload[name], types[name] = column.name, kind
    return Columns(id_column, embedding_column, payload, types, ignored=tuple(ignored), **special)


def special_columns(schema: Any) -> dict[str, str]:
    """The columns of sources, where they are what they are called."""
    found = {}
    if SOURCE_URI in schema.names and is_text(schema.field(SOURCE_URI).type):
        found["source_uri"] = SOURCE_URI
    if {SOURCE, SOURCE_KIND} <= set(schema.names):
        source = schema.field(SOURCE).type
        if is_text(schema.field(SOURCE_KIND).type) and (
            kinds.is_binary(source) or kinds.is_large_binary(source)
        ):
            found |= {"source": SOURCE, "source_kind": SOURCE_KIND}
    return found


def is_text(kind: Any) -> bool:
    """Whether a column holds texts."""
    if kinds.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind))


def is_list(kind: Any) -> bool:
    """Whether a column holds lists."""
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def is_embedding(kind: Any) -> bool:
    """Whether a column holds lists of floating-point numbers."""
    return is_list(kind) and bool(kinds.is_floating(kind.value_type))


def payload_type(kind: Any) -> str | None:
    """The payload type that can hold a column; None if there is none."""
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (is_text, "string"),
        (kinds.is_boolean, "bool"),
        (kinds.is_integer, "int"),
        (kinds.is_floating, "double"),
        (kinds.is_timestamp, "timestamp"),
        (kinds.is_date, "timestamp"),
        (lambda kind: is_list(kind) and is_text(kind.value_type), "string_list"),
    )
    return next((name for test, name in tests if test(kind)), None)


def read_column(array: Any, kind: str) -> list[PayloadValue | ValueError | None]:
    """The values of a column as payloads hold them: None for none, ValueError for what they cannot hold.

    NaN counts as none, as data frames mean it. Moments without a zone are UTC; what is finer than a
    microsecond is cut off.
    """
    if kinds.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind == "timestamp":
        array = array.cast(pa.timestamp("us"), safe=False) if kinds.is_date(array.type) else array
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False).cast(pa.int64())
    readers: dict[str, Callable[[Any], PayloadValue | ValueError | None]] = {
        "int": read_int,
        "double": read_double,
        "timestamp": read_moment,
        "string_list": read_texts,
    }
    values: list[Any] = texts_of(array) if kind in ("string", "string_list") else array.to_pylist()
    read = readers.get(kind)
    return [None if value is None else read(value) for value in values] if read else values


def texts_of(array: Any) -> list[Any]:
    """Texts, or lists of them; FileError for bytes that are no UTF-8."""
    try:
        found: list[Any] = array.to_pylist()
    except UnicodeDecodeError as error:
        raise FileError(f"a column holds text that is no UTF-8: {error}") from error
    return found


def read_int(value: int) -> int | ValueError:
    """The number, if it fits."""
    return value if value in INT64 else ValueError(f"{value} does not fit into 64 bits")


def read_double(value: float) -> float | ValueError | None:
    """The number, if it is one; whole numbers only where a double holds them exactly."""
    if isinstance(value, int):
        return float(value) if float(value) == value else ValueError(f"{value} is not exact as a double")
    if math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else ValueError(f"{value} is not finite")


def read_moment(microseconds: int) -> dt.datetime | ValueError:
    """The moment, if the calendar reaches so far."""
    try:
        return EPOCH + dt.timedelta(microseconds=microseconds)
    except OverflowError:
        return ValueError("a moment beyond the years 1 … 9999")


def read_texts(values: Sequence[str | None]) -> list[str] | ValueError:
    """The texts, if each is there."""
    if any(value is None for value in values):
        return ValueError("a list with an empty place")
    return [value for value in values if value is not None]
