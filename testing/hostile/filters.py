"""Filters that are malformed, too large, or try to be more than a filter."""

from __future__ import annotations

import math

from clipserve.v1 import common_pb2

from testing.hostile.cases import ANSWERED, Item
from testing.hostile.payloads import Value, moment, tags, text

INVALID, LIMIT = "FILTER_INVALID", "LIMIT_EXCEEDED"
Filter = common_pb2.Filter
YEAR = Value(int_value=2000)


def eq(field: str, value: Value) -> Filter:
    """field == value."""
    return Filter(eq=common_pb2.EqFilter(field=field, value=value))


def among(field: str, *values: Value) -> Filter:
    """field in values."""
    return Filter(in_list=common_pb2.InFilter(field=field, values=values))


def between(field: str, **bounds: Value) -> Filter:
    """A range."""
    return Filter(range=common_pb2.RangeFilter(field=field, **bounds))


def all_of(*filters: Filter) -> Filter:
    """Every one."""
    return Filter(all_of=common_pb2.FilterList(filters=filters))


def any_of(*filters: Filter) -> Filter:
    """At least one."""
    return Filter(any_of=common_pb2.FilterList(filters=filters))


def negated(depth: int) -> Filter:
    """So many negations of something true."""
    found = eq("year", YEAR)
    for _ in range(depth):
        found = Filter(negation=found)
    return found


FILTERS: list[Item[Filter]] = [
    Item("filter not set", lambda: Filter(), INVALID, "filter"),
    Item("filter by no field", lambda: eq("", YEAR), INVALID, "filter.eq.field"),
    Item("filter by a field that is not there", lambda: eq("nope", YEAR), INVALID, "filter.eq.field"),
    Item("filter by a field of a query", lambda: eq("year = 1 OR 1", YEAR), INVALID, "filter.eq.field"),
    Item("filter by a column", lambda: eq("embedding", YEAR), INVALID, "filter.eq.field"),
    Item("filter by a quoted field", lambda: eq('"year"', YEAR), INVALID, "filter.eq.field"),
    Item("filter by a field of a megabyte", lambda: eq("y" * 1_000_000, YEAR), LIMIT, "filter"),
    Item("filter of a megabyte", lambda: eq("name", text("'" * 1_000_000)), LIMIT, "filter"),
    Item("filter of 257 KiB", lambda: among("name", *[text("a" * 257)] * 1_000), LIMIT, "filter"),
    Item("filter by no value", lambda: eq("year", Value()), INVALID, "filter.eq.value"),
    Item(
        "filter by a text for a number", lambda: eq("year", text("2000 OR 1=1")), INVALID, "filter.eq.value"
    ),
    Item("filter by a list", lambda: eq("tags", tags("a")), INVALID, "filter.eq.value"),
    Item("filter by NaN", lambda: eq("price", Value(double_value=math.nan)), INVALID, "filter.eq.value"),
    Item(
        "filter by infinity",
        lambda: between("price", lt=Value(double_value=math.inf)),
        INVALID,
        "filter.range.lt",
    ),
    Item("filter by the year 10000", lambda: eq("taken", moment(2**50)), INVALID, "filter.eq.value"),
    Item("filter by no values", lambda: among("year"), INVALID, "filter.in_list.values"),
    Item("filter by 1001 values", lambda: among("year", *[YEAR] * 1_001), INVALID, "filter.in_list.values"),
    Item(
        "filter by a bad 3rd value",
        lambda: among("year", YEAR, YEAR, text("a")),
        INVALID,
        "filter.in_list.values[2]",
    ),
    Item("filter by 50000 values", lambda: among("year", *[YEAR] * 50_000), INVALID, "filter"),
    Item("filter by no bounds", lambda: between("year"), INVALID, "filter.range"),
    Item(
        "filter by two lower bounds", lambda: between("year", gt=YEAR, gte=YEAR), INVALID, "filter.range.gt"
    ),
    Item(
        "filter by two upper bounds", lambda: between("year", lt=YEAR, lte=YEAR), INVALID, "filter.range.lt"
    ),
    Item(
        "filter by a range of bools",
        lambda: between("sold", gt=Value(bool_value=False)),
        INVALID,
        "filter.range.field",
    ),
    Item("filter by a range of lists", lambda: between("tags", gt=text("a")), INVALID, "filter.range.field"),
    Item(
        "filter by a bound of another type", lambda: between("year", gt=text("a")), INVALID, "filter.range.gt"
    ),
    Item("filter of no parts", lambda: all_of(), INVALID, "filter.all_of.filters"),
    Item("filter of no alternatives", lambda: any_of(), INVALID, "filter.any_of.filters"),
    Item("filter of 101 parts", lambda: all_of(*[eq("year", YEAR)] * 101), INVALID, "filter.all_of.filters"),
    Item(
        "filter of a bad 2nd part",
        lambda: any_of(eq("year", YEAR), Filter()),
        INVALID,
        "filter.any_of.filters[1]",
    ),
    Item("filter 17 deep", lambda: negated(16), INVALID, "filter" + ".negation" * 16),
    Item("filter 49 deep", lambda: negated(48), INVALID, "filter" + ".negation" * 16),
    Item(
        "filter of 100 × 100 parts",
        lambda: all_of(*[any_of(*[eq("year", YEAR)] * 100)] * 100),
        INVALID,
        "filter",
    ),
    Item("filter 16 deep", lambda: negated(15), ANSWERED),
    Item("filter of 1000 values", lambda: among("year", *[YEAR] * 1_000), ANSWERED),
    Item("filter of 70 × 70 parts", lambda: all_of(*[any_of(*[eq("year", YEAR)] * 70)] * 70), ANSWERED),
    Item("filter of a query", lambda: eq("name", text("' OR '1'='1")), ANSWERED),
    Item("filter of a comment", lambda: eq("name", text("x'--")), ANSWERED),
    Item("filter of a statement", lambda: eq("name", text("x'; DROP TABLE points; --")), ANSWERED),
    Item("filter of backslashes", lambda: eq("name", text("\\' OR 1=1 --\\")), ANSWERED),
    Item("filter of doubled quotes", lambda: eq("name", text("''''''")), ANSWERED),
    Item("filter of a NUL", lambda: eq("name", text("a\0b")), ANSWERED),
    Item("filter of line ends", lambda: eq("name", text("a\n' OR 1=1\r\n")), ANSWERED),
    Item("filter of wildcards", lambda: eq("name", text("%_*")), ANSWERED),
    Item("filter of 255 KiB", lambda: eq("name", text("'" * 255 * 1024)), ANSWERED),
    Item("filter of a tag of a query", lambda: eq("tags", text("') OR true OR ('a' = 'a")), ANSWERED),
    Item("filter of strange letters", lambda: eq("name", text("\ufeff\u202e\uffff\U0010ffff")), ANSWERED),
    Item("filter of the smallest int", lambda: eq("year", Value(int_value=-(2**63))), ANSWERED),
    Item("filter of the largest int", lambda: between("year", gte=Value(int_value=2**63 - 1)), ANSWERED),
    Item("filter of the smallest double", lambda: between("price", gt=Value(double_value=5e-324)), ANSWERED),
    Item(
        "filter of the largest double",
        lambda: eq("price", Value(double_value=-1.7976931348623157e308)),
        ANSWERED,
    ),
    Item("filter of −0", lambda: eq("price", Value(double_value=-0.0)), ANSWERED),
    Item("filter of the year 1", lambda: between("taken", gte=moment(-62135596800)), ANSWERED),
    Item("filter of the year 9999", lambda: between("taken", lte=moment(253402300799)), ANSWERED),
    Item("filter of a range upside down", lambda: between("year", gt=YEAR, lt=Value(int_value=-1)), ANSWERED),
]
"""Each of a call of its own; fields are those of Search, CountPoints, ScrollPoints and DeletePoints."""
