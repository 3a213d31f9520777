"""Filters as LanceDB's SQL. Every value becomes a literal of its type and can never become syntax."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from clipserve_gateway.index.columns import columns
from clipserve_gateway.index.timestamps import to_microseconds
from clipserve_gateway.index.values import And, Eq, Filter, In, Not, Or, PayloadType, PayloadValue, Range


def render(filter: Filter, schema: Mapping[str, PayloadType]) -> str:
    """The SQL condition. It is true or false for every row, never null: without a value it is false."""
    if isinstance(filter, And | Or):
        glue = " AND " if isinstance(filter, And) else " OR "
        return "(" + glue.join(render(part, schema) for part in filter.filters) + ")"
    if isinstance(filter, Not):
        return f"(NOT {render(filter.filter, schema)})"
    column = columns(schema)[filter.field]
    return f"({column} IS NOT NULL AND {comparison(filter, column, schema[filter.field])})"


def comparison(filter: Eq | In | Range, column: str, kind: PayloadType) -> str:
    """The condition on a column that has a value."""
    if isinstance(filter, Range):
        signs = ((">", filter.gt), (">=", filter.gte), ("<", filter.lt), ("<=", filter.lte))
        bounds = [f"{column} {sign} {literal(bound)}" for sign, bound in signs if bound is not None]
        return " AND ".join(bounds)
    values = filter.values if isinstance(filter, In) else (filter.value,)
    if kind is PayloadType.STRING_LIST:
        return f"array_has_any({column}, make_array({', '.join(map(literal, values))}))"
    return f"{column} IN ({', '.join(map(literal, values))})"


def literal(value: PayloadValue) -> str:
    """A value as SQL. Numbers are cast, because a bare literal may get another type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"CAST('{value}' AS BIGINT)"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    if isinstance(value, dt.datetime):
        return literal(to_microseconds(value))
    if isinstance(value, str):
        return sql_string(value)
    raise TypeError(f"a filter cannot compare with {type(value).__name__}")


def sql_string(value: str) -> str:
    """A text as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def id_in(ids: Sequence[str]) -> str:
    """The condition that a row's id is one of these."""
    return f"id IN ({', '.join(map(sql_string, ids))})"
