"""Which column types of Parquet files can be ids, embeddings and payload fields.

Only types with one possible meaning are used. Columns of other types are not imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow.types as kinds

UUID_MARK = "UUID"
UUID_EXTENSION = "arrow.uuid"
STORED = frozenset(("arrow.json", "arrow.bool8"))
"""Extension types of Arrow whose values equal their stored values."""
TENSOR = "arrow.fixed_shape_tensor"
EXACT_DIGITS = 15
"""Decimal digits that a double keeps."""


def plain(kind: Any) -> Any:
    """The type of the values, without dictionaries, run lengths and extensions in STORED."""
    if kinds.is_dictionary(kind) or kinds.is_run_end_encoded(kind):
        return plain(kind.value_type)
    extension = getattr(kind, "extension_name", "")
    if extension in STORED or (extension == TENSOR and sum(side != 1 for side in kind.shape) <= 1):
        return plain(kind.storage_type)
    return kind


def is_text(kind: Any) -> bool:
    kind = plain(kind)
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def is_uuid(kind: Any, mark: str = "") -> bool:
    """Whether a column has UUIDs; `mark` is Parquet's logical type."""
    return mark == UUID_MARK or getattr(kind, "extension_name", "") == UUID_EXTENSION


def is_bool(kind: Any) -> bool:
    return bool(kinds.is_boolean(plain(kind))) or getattr(kind, "extension_name", "") == "arrow.bool8"


def is_whole(kind: Any) -> bool:
    kind = plain(kind)
    return bool(kinds.is_integer(kind) or (kinds.is_decimal(kind) and kind.scale <= 0))


def is_number(kind: Any) -> bool:
    kind = plain(kind)
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))


def is_list(kind: Any) -> bool:
    kind = plain(kind)
    views = kinds.is_list_view(kind) or kinds.is_large_list_view(kind)
    return bool(views or kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def is_embedding(kind: Any) -> bool:
    return is_list(kind) and not is_bool(plain(kind).value_type) and is_number(plain(kind).value_type)


def is_id(kind: Any, mark: str = "") -> bool:
    """Whether a column's values can be ids: texts, whole numbers, UUIDs."""
    return is_text(kind) or is_uuid(kind, mark) or (is_whole(kind) and not is_bool(kind))


def is_exact(kind: Any) -> bool:
    """Whether a double keeps the column's numbers distinct."""
    kind = plain(kind)
    return bool(
        kinds.is_floating(kind)
        or (kinds.is_decimal(kind) and kind.scale > 0 and kind.precision <= EXACT_DIGITS)
    )


def payload_type(kind: Any, mark: str = "") -> str | None:
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
    if kinds.is_null(kind):
        return "it has no values"
    if kinds.is_decimal(plain(kind)):
        return f"it has type {plain(kind)}, but a double is exact to {EXACT_DIGITS} digits only"
    return f"it has type {kind}, which no payload field supports"


def why_no_id(kind: Any) -> str:
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    more = " (bytes are ids only if they are marked as UUIDs)" if binary else ""
    return f"it has type {kind}{more}; ids are texts, whole numbers or UUIDs: convert the column"


def why_no_embedding(kind: Any) -> str:
    binary = kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind)
    if binary:
        return (
            f"it has type {kind}, and the number type of bytes is unknown: convert the column, for float32 "
            "with numpy.frombuffer(value, '<f4').tolist()"
        )
    return f"it has type {kind}"
