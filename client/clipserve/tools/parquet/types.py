"""What the types of a Parquet file's columns mean for points: ids, embeddings and payload fields.

A type is used where it has one meaning. Each other is left out, or refused, by its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow.types as kinds

UUID_MARK = "UUID"
UUID_EXTENSION = "arrow.uuid"
STORED = frozenset(("arrow.json", "arrow.bool8"))
"""Extensions of Arrow whose values are those that they are stored as."""
TENSOR = "arrow.fixed_shape_tensor"
EXACT_DIGITS = 15
"""Decimal digits that a double always gives back."""


def plain(kind: Any) -> Any:
    """The type of the values: without dictionaries, run lengths, and extensions that change no value."""
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind):
        return plain(kind.value_type)
    extension = getattr(kind, "extension_name", "")
    if extension in STORED or (extension == TENSOR and sum(side != 1 for side in kind.shape) <= 1):
        return plain(kind.storage_type)
    return kind


def is_text(kind: Any) -> bool:
    """Whether a column holds texts."""
    kind = plain(kind)
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def is_uuid(kind: Any, mark: str = "") -> bool:
    """Whether a column holds UUIDs; `mark` is Parquet's own for the column."""
    return mark == UUID_MARK or getattr(kind, "extension_name", "") == UUID_EXTENSION


def is_bool(kind: Any) -> bool:
    """Whether a column holds truth values."""
    return bool(kinds.is_boolean(plain(kind))) or getattr(kind, "extension_name", "") == "arrow.bool8"


def is_whole(kind: Any) -> bool:
    """Whether a column holds whole numbers."""
    kind = plain(kind)
    return bool(kinds.is_integer(kind) or (kinds.is_decimal(kind) and kind.scale <= 0))


def is_number(kind: Any) -> bool:
    """Whether a column holds numbers."""
    kind = plain(kind)
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))


def is_list(kind: Any) -> bool:
    """Whether a column holds lists."""
    kind = plain(kind)
    views = kinds.is_list_view(kind) or kinds.is_large_list_view(kind)
    return bool(views or kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def is_embedding(kind: Any) -> bool:
    """Whether a column holds lists of numbers."""
    return is_list(kind) and not is_bool(plain(kind).value_type) and is_number(plain(kind).value_type)


def is_id(kind: Any, mark: str = "") -> bool:
    """Whether a column's values have one form as text: texts, whole numbers, UUIDs."""
    return is_text(kind) or is_uuid(kind, mark) or (is_whole(kind) and not is_bool(kind))


def is_exact(kind: Any) -> bool:
    """Whether a double tells each of a column's numbers from every other."""
    kind = plain(kind)
    return bool(
        kinds.is_floating(kind)
        or (kinds.is_decimal(kind) and kind.scale > 0 and kind.precision <= EXACT_DIGITS)
    )


def payload_type(kind: Any, mark: str = "") -> str | None:
    """The payload type that can hold a column; None if there is none."""
    tests: tuple[tuple[Callable[[Any], bool], str], ...] = (
        (lambda kind: is_text(kind) or is_uuid(kind, mark), "string"),
        (is_bool, "bool"),
        (is_whole, "int"),
        (is_exact, "double"),
        (lambda kind: bool(kinds.is_timestamp(plain(kind)) or kinds.is_date(plain(kind))), "timestamp"),
        (lambda kind: is_list(kind) and is_text(plain(kind).value_type), "string_list"),
    )
    return next((name for test, name in tests if test(kind)), None)


def why_no_field(kind: Any) -> str:
    """Why no payload field can hold a column."""
    if kinds.is_null(kind):
        return "it has no values"
    if kinds.is_decimal(plain(kind)):
        return f"it is of type {plain(kind)}, and a double is exact to {EXACT_DIGITS} digits"
    return f"it is of type {kind}, which no payload field can hold"


def why_no_id(kind: Any) -> str:
    """Why a column's values cannot be ids, and what to do."""
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    more = " (bytes that are not marked as UUIDs have no one form as text)" if binary else ""
    return f"it is of type {kind}{more}; ids are texts, whole numbers or UUIDs: convert the column"


def why_no_embedding(kind: Any) -> str:
    """Why a column's values cannot be embeddings, and what to do."""
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    if binary:
        return (
            f"it is of type {kind}, and bytes do not say which numbers they are: convert the column, where "
            "they are float32 with numpy.frombuffer(value, '<f4').tolist()"
        )
    return f"it is of type {kind}"
