"""Conditions on the command line: `--where year>=2020 --where folder=holiday`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import click

from clipserve.filters.conditions import And, Eq, Filter, Not, Range
from clipserve.types import PayloadValue
from clipserve.wire.payload import read_moment

CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(!=|>=|<=|=|>|<)\s*(.*)", re.DOTALL)
BOUNDS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_where(conditions: Sequence[str], schema: Mapping[str, str]) -> Filter | None:
    """All the conditions together, their values read as the schema's types; click.BadParameter for others."""
    filters = tuple(parse_condition(condition, schema) for condition in conditions)
    if len(filters) < 2:
        return filters[0] if filters else None
    return And(filters)


def parse_condition(condition: str, schema: Mapping[str, str]) -> Filter:
    """One condition: FIELD=VALUE, or with !=, <, <=, >, >=."""
    found = CONDITION.fullmatch(condition)
    if found is None:
        raise bad(f"{condition!r} is no condition; write FIELD=VALUE, or use !=, <, <=, > or >=")
    field, sign, text = found.groups()
    if field not in schema:
        raise bad(f"the collection has no field {field!r}; it has {', '.join(schema) or 'none'}")
    value = read_value(text, schema[field], field)
    if sign == "=":
        return Eq(field, value)
    if sign == "!=":
        return Not(Eq(field, value))
    if schema[field] in ("bool", "string_list"):
        raise bad(f"field {field!r} of type {schema[field]} has no order; use = or !=")
    return Range(field, **{BOUNDS[sign]: value})


def read_value(text: str, kind: str, field: str) -> PayloadValue:
    """The value as the field's type."""
    readers: dict[str, Callable[[str], PayloadValue]] = {
        "int": int,
        "double": float,
        "bool": lambda text: TRUTHS[text.strip().lower()],
        "timestamp": read_moment,
    }
    try:
        return readers.get(kind, str)(text)
    except (ValueError, KeyError):
        example = {"timestamp": ", for example 2024-05-01", "bool": ", true or false"}.get(kind, "")
        raise bad(f"{text!r} is no value for field {field!r}, which is of type {kind}{example}") from None


def bad(message: str) -> click.BadParameter:
    """The error."""
    return click.BadParameter(message, param_hint="--where")
