"""The roles of a Parquet file's columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.types as kinds

from clipserve.tools.parquet.layout import PAYLOAD, SOURCE, SOURCE_KIND, SOURCE_URI, FileError, FileFacts
from clipserve.tools.parquet.types import (
    is_embedding,
    is_id,
    is_text,
    payload_type,
    why_no_embedding,
    why_no_field,
    why_no_id,
)

FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
PANDAS_INDEX = "__index_level_"


@dataclass(frozen=True)
class Columns:
    """The columns by role."""

    id: str
    embedding: str
    payload: dict[str, str] = field(default_factory=dict)
    """Column of each payload field."""
    schema: dict[str, str] = field(default_factory=dict)
    """Type of each payload field."""
    source_uri: str | None = None
    source: str | None = None
    source_kind: str | None = None
    ignored: dict[str, str] = field(default_factory=dict)
    """Columns that are not imported, and why."""


def choose_columns(
    schema: Any,
    id_column: str,
    embedding_column: str,
    facts: FileFacts | None = None,
    marks: Mapping[str, str] | None = None,
) -> Columns:
    """The roles of a file's columns. Raises FileError if id or embedding are missing or unusable.

    `marks` are Parquet's logical types of the columns, see footer.marked_columns.
    """
    marks = marks or {}
    for name, option in ((id_column, "--id-column"), (embedding_column, "--embedding-column")):
        if name not in schema.names:
            listed = ", ".join(schema.names) or "none"
            raise FileError(f"there is no column {name!r}; the columns are {listed}: name it with {option}")
        if schema.names.count(name) > 1:
            raise FileError(f"several columns are called {name!r}; rename them")
    kind = schema.field(id_column).type
    if not is_id(kind, marks.get(id_column, "")):
        raise FileError(f"column {id_column!r} has no ids: {why_no_id(kind)}")
    kind = schema.field(embedding_column).type
    if not is_embedding(kind):
        raise FileError(f"column {embedding_column!r} has no lists of numbers: {why_no_embedding(kind)}")
    special = special_columns(schema)
    names = Counter(schema.names)
    payload: dict[str, str] = {}
    types: dict[str, str] = {}
    ignored: dict[str, str] = {}
    for column in schema:
        if column.name in (id_column, embedding_column, *special.values()):
            continue
        own = facts is not None and column.name.startswith(PAYLOAD)
        name = column.name.removeprefix(PAYLOAD)
        kind = payload_type(column.type, marks.get(column.name, ""))
        why = "several columns have this name" if names[column.name] > 1 else ""
        why = why or why_no_name(name, payload, own=own)
        if why or kind is None:
            ignored[column.name] = why or why_no_field(column.type)
        else:
            payload[name], types[name] = column.name, kind
    return Columns(id_column, embedding_column, payload, types, ignored=ignored, **special)


def why_no_name(name: str, taken: Mapping[str, str], *, own: bool) -> str:
    """Why the column's name cannot be the name of a payload field; empty if it can."""
    if not own and name.startswith(PANDAS_INDEX):
        return "it is the index of a data frame"
    if not FIELD.fullmatch(name):
        return "its name cannot be a field name: up to 64 letters, digits and _, not a digit first"
    if name.lower() in {other.lower() for other in taken}:
        return "another column has the same name"
    return ""


def special_columns(schema: Any) -> dict[str, str]:
    """The columns of sources that have the right types."""
    special: dict[str, str] = {}
    kinds_of = {column.name: column.type for column in schema}
    single = {name for name, count in Counter(schema.names).items() if count == 1}
    if SOURCE_URI in single and is_text(kinds_of[SOURCE_URI]):
        special["source_uri"] = SOURCE_URI
    if {SOURCE, SOURCE_KIND} <= single:
        source = kinds_of[SOURCE]
        binary = kinds.is_binary(source) or kinds.is_large_binary(source) or kinds.is_binary_view(source)
        if is_text(kinds_of[SOURCE_KIND]) and binary:
            special |= {"source": SOURCE, "source_kind": SOURCE_KIND}
    return special
