"""Filters as Milvus's expressions. Every value becomes a literal of its type and can never become syntax.

Filter templates are not used, because Milvus 2.3 and milvus-lite do not support them.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence

from clipserve_gateway.index.timestamps import to_microseconds
from clipserve_gateway.index.values import And, Eq, Filter, In, Not, Or, PayloadType, PayloadValue, Range

EVERY, NONE = 'id != ""', 'id == ""'
"""True for every row, and for none: ids are never empty. Milvus 2.3 does not accept a bare `true`."""
LEAST = -(2**63)
"""The least int64, which Milvus 2.3 cannot parse: it reads the sign as an operator."""


def render(filter: Filter, schema: Mapping[str, PayloadType]) -> str:
    """The expression. The column `has` lists the fields that a point has, as Milvus 2.3 has no null."""
    if isinstance(filter, And | Or):
        glue = " and " if isinstance(filter, And) else " or "
        return "(" + glue.join(render(part, schema) for part in filter.filters) + ")"
    if isinstance(filter, Not):
        return f"(not {render(filter.filter, schema)})"
    number = list(schema).index(filter.field)
    return f"(array_contains(has, {number}) and ({comparison(filter, f'p{number}', schema[filter.field])}))"


def comparison(filter: Eq | In | Range, column: str, kind: PayloadType) -> str:
    """The condition on a column that has a value."""
    if isinstance(filter, Range):
        signs = ((">", filter.gt), (">=", filter.gte), ("<", filter.lt), ("<=", filter.lte))
        return " and ".join(bound(column, sign, value) for sign, value in signs if value is not None)
    values = filter.values if isinstance(filter, In) else (filter.value,)
    if kind is PayloadType.STRING_LIST:
        return f"array_contains_any({column}, [{', '.join(map(literal, values))}])"
    if LEAST in values and kind is PayloadType.INT:
        others = [value for value in values if value != LEAST]
        least = f"{column} < {LEAST + 1}"
        return f"{least} or {among(column, others)}" if others else least
    return among(column, values)


def bound(column: str, sign: str, value: PayloadValue) -> str:
    """One bound of a range."""
    if value == LEAST and not isinstance(value, float):
        return {
            ">": f"{column} >= {LEAST + 1}",
            ">=": EVERY,
            "<": NONE,
            "<=": f"{column} < {LEAST + 1}",
        }[sign]
    return f"{column} {sign} {literal(value)}"


def among(column: str, values: Sequence[PayloadValue]) -> str:
    """The condition that a column has one of these values."""
    return f"{column} in [{', '.join(map(literal, values))}]"


def literal(value: PayloadValue) -> str:
    """A value in an expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dt.datetime):
        return str(to_microseconds(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"a filter cannot compare with {type(value).__name__}")
