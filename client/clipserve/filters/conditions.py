"""Conditions on payloads, written as Python expressions.

>>> from clipserve import F
>>> (F("year") >= 2020) & (F("folder") == "holiday") & ~F("tags").isin(["blurred", "private"])
(year >= 2020 and folder == 'holiday' and not tags in ['blurred', 'private'])

A condition's repr can be parsed again: `parse_filter(repr(condition)) == condition`.

A comparison is false if the point does not have the field, so the negation of the comparison is true.
"""

from __future__ import annotations

import datetime as dt
import keyword
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np

from clipserve.filters.scan import INSTEAD
from clipserve.types import PayloadValue
from clipserve.v1 import common_pb2
from clipserve.wire.payload import write_value

RESERVED = ("true", "false", *INSTEAD)
"""Values, and words that a condition's text refuses. Fields with these names are written `field("true")`."""
LOW, HIGH = (("gt", "<"), ("gte", "<=")), (("lt", "<"), ("lte", "<="))
"""Bounds and their signs on either side of the field: 2010 <= year < 2020."""


class Filter:
    """A condition. Combine with `&`, `|` and `~`."""

    def message(self) -> common_pb2.Filter:
        """The condition's message. Raises TypeError or ValueError for values that a payload cannot hold."""
        raise TypeError("a bare Filter has no condition; use F(field) == value or another comparison")

    # Chains stay flat, because servers limit the nesting depth.
    def __and__(self, other: Filter) -> Filter:
        return And((*flatten(self, And), *flatten(require_filter(other), And)))

    def __or__(self, other: Filter) -> Filter:
        return Or((*flatten(self, Or), *flatten(require_filter(other), Or)))

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a filter has no truth value; combine filters with &, | and ~ (and parentheses), not with and, "
            "or, not or chained comparisons"
        )


def flatten(filter: Filter, kind: type[And] | type[Or]) -> tuple[Filter, ...]:
    """The filters of an And or Or of this kind; else the filter itself."""
    return filter.filters if isinstance(filter, kind) else (filter,)


def require_filter(other: object) -> Filter:
    """The filter. Raises TypeError for other types."""
    if not isinstance(other, Filter):
        raise TypeError(f"expected a filter such as F('year') >= 2020, not {type(other).__name__}")
    return other


def shown_field(name: str) -> str:
    """The field in a condition's text."""
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    return name if plain and name not in RESERVED else f"field({name!r})"


def shown_value(value: PayloadValue) -> str:
    """The value in a condition's text."""
    if isinstance(value, np.generic):
        value = value.item()
    return f"timestamp({value.isoformat()!r})" if isinstance(value, dt.datetime) else repr(value)


@dataclass(frozen=True, repr=False)
class Eq(Filter):
    """field == value; for a list of strings: the list contains the string."""

    field: str
    value: PayloadValue

    def message(self) -> common_pb2.Filter:
        return common_pb2.Filter(eq=common_pb2.EqFilter(field=self.field, value=write_value(self.value)))

    def __repr__(self) -> str:
        return f"{shown_field(self.field)} == {shown_value(self.value)}"


@dataclass(frozen=True, repr=False)
class In(Filter):
    """The field equals one of the values; for a list of strings: the list contains one of them."""

    field: str
    values: tuple[PayloadValue, ...]

    def message(self) -> common_pb2.Filter:
        values = [write_value(value) for value in self.values]
        return common_pb2.Filter(in_list=common_pb2.InFilter(field=self.field, values=values))

    def __repr__(self) -> str:
        return f"{shown_field(self.field)} in [{', '.join(map(shown_value, self.values))}]"


@dataclass(frozen=True, repr=False)
class Range(Filter):
    """The field is within bounds; None means unbounded."""

    field: str
    gt: PayloadValue | None = None
    gte: PayloadValue | None = None
    lt: PayloadValue | None = None
    lte: PayloadValue | None = None

    def bounds(self) -> dict[str, PayloadValue]:
        """The bounds that are not None."""
        named = {"gt": self.gt, "gte": self.gte, "lt": self.lt, "lte": self.lte}
        return {name: value for name, value in named.items() if value is not None}

    def message(self) -> common_pb2.Filter:
        message = common_pb2.RangeFilter(field=self.field)
        for name, value in self.bounds().items():
            getattr(message, name).CopyFrom(write_value(value))
        return common_pb2.Filter(range=message)

    def __repr__(self) -> str:
        field, bounds = shown_field(self.field), self.bounds()
        low = [f"{shown_value(bounds[name])} {sign} " for name, sign in LOW if name in bounds]
        high = [f" {sign} {shown_value(bounds[name])}" for name, sign in HIGH if name in bounds]
        if len(low) == len(high) == 1:
            return f"{low[0]}{field}{high[0]}"
        signs = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
        return " and ".join(f"{field} {signs[name]} {shown_value(value)}" for name, value in bounds.items())


@dataclass(frozen=True, repr=False)
class Joined(Filter):
    """Several filters, joined by a word; `kind` is the message's field."""

    filters: tuple[Filter, ...]
    word: ClassVar[str]
    kind: ClassVar[str]

    def message(self) -> common_pb2.Filter:
        message = common_pb2.Filter()
        parts = common_pb2.FilterList(filters=[part.message() for part in self.filters])
        getattr(message, self.kind).CopyFrom(parts)
        return message

    def __repr__(self) -> str:
        return f"({f' {self.word} '.join(map(repr, self.filters))})"


class And(Joined):
    """Every one of the filters holds."""

    word, kind = "and", "all_of"


class Or(Joined):
    """At least one of the filters holds."""

    word, kind = "or", "any_of"


@dataclass(frozen=True, repr=False)
class Not(Filter):
    """The filter does not hold."""

    filter: Filter

    def message(self) -> common_pb2.Filter:
        return common_pb2.Filter(negation=self.filter.message())

    def __repr__(self) -> str:
        return f"not {self.filter!r}"


class F:
    """A payload field to compare: `F("year") >= 2020`, `F("tags") == "sea"`, `F("name").isin([...])`."""

    __slots__ = ("name",)
    __hash__ = None  # type: ignore[assignment]  # == returns a filter, so fields cannot be keys

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, value: PayloadValue) -> Filter:  # type: ignore[override]  # returns a filter
        return Eq(self.name, value)

    def __ne__(self, value: PayloadValue) -> Filter:  # type: ignore[override]  # returns a filter
        return Not(Eq(self.name, value))

    def __lt__(self, value: PayloadValue) -> Filter:
        return Range(self.name, lt=value)

    def __le__(self, value: PayloadValue) -> Filter:
        return Range(self.name, lte=value)

    def __gt__(self, value: PayloadValue) -> Filter:
        return Range(self.name, gt=value)

    def __ge__(self, value: PayloadValue) -> Filter:
        return Range(self.name, gte=value)

    def isin(self, values: Iterable[PayloadValue]) -> Filter:
        """The field equals one of the values. Raises ValueError if there are none."""
        candidates = tuple(values)
        if not candidates:
            raise ValueError("isin needs at least one value")
        return In(self.name, candidates)

    def between(self, low: PayloadValue, high: PayloadValue) -> Filter:
        """low ≤ field ≤ high."""
        return Range(self.name, gte=low, lte=high)
