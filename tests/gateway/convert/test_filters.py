from __future__ import annotations

import pytest
from clipserve.v1 import common_pb2
from clipserve.v1.common_pb2 import EqFilter, Filter, FilterList, InFilter, RangeFilter, Value
from clipserve_gateway.convert.filters import read_filter
from clipserve_gateway.errors import InvalidFilter, LimitExceeded
from clipserve_gateway.index.values import And, Eq, In, Not, Or, PayloadType, Range
from clipserve_gateway.settings import Settings

SCHEMA = {"year": PayloadType.INT, "tags": PayloadType.STRING_LIST, "sold": PayloadType.BOOL}
LIMITS = Settings().limits
ONE, TWO, TEXT = Value(int_value=1), Value(int_value=2), Value(string_value="a")


def nested(depth: int) -> Filter:
    nested = Filter(eq=EqFilter(field="year", value=ONE))
    for _ in range(depth - 1):
        nested = Filter(negation=nested)
    return nested


def test_every_node_is_read():
    message = Filter(
        all_of=FilterList(
            filters=[
                Filter(eq=EqFilter(field="tags", value=TEXT)),
                Filter(
                    any_of=FilterList(
                        filters=[
                            Filter(in_list=InFilter(field="year", values=[ONE, TWO])),
                            Filter(negation=Filter(range=RangeFilter(field="year", gt=ONE, lte=TWO))),
                        ]
                    )
                ),
            ]
        )
    )
    assert read_filter(message, SCHEMA, LIMITS) == And(
        (Eq("tags", "a"), Or((In("year", (1, 2)), Not(Range("year", gt=1, lte=2)))))
    )


@pytest.mark.parametrize(
    ("message", "path"),
    [
        (Filter(), "filter"),
        (Filter(eq=EqFilter(field="month", value=ONE)), "filter.eq.field"),
        (Filter(eq=EqFilter(field="year", value=TEXT)), "filter.eq.value"),
        (Filter(eq=EqFilter(field="year")), "filter.eq.value"),
        (
            Filter(eq=EqFilter(field="tags", value=Value(string_list=common_pb2.StringList()))),
            "filter.eq.value",
        ),
        (Filter(in_list=InFilter(field="year")), "filter.in_list.values"),
        (Filter(in_list=InFilter(field="year", values=[ONE] * 1001)), "filter.in_list.values"),
        (Filter(in_list=InFilter(field="year", values=[ONE, TEXT])), "filter.in_list.values[1]"),
        (Filter(range=RangeFilter(field="year")), "filter.range"),
        (Filter(range=RangeFilter(field="year", gt=ONE, gte=ONE)), "filter.range.gt"),
        (Filter(range=RangeFilter(field="sold", gt=Value(bool_value=True))), "filter.range.field"),
        (Filter(all_of=FilterList()), "filter.all_of.filters"),
        (Filter(any_of=FilterList(filters=[nested(1), Filter()])), "filter.any_of.filters[1]"),
        (Filter(any_of=FilterList(filters=[nested(1)] * 101)), "filter.any_of.filters"),
        (Filter(negation=Filter()), "filter.negation"),
    ],
)
def test_a_bad_filter_names_its_place(message, path):
    with pytest.raises(InvalidFilter) as raised:
        read_filter(message, SCHEMA, LIMITS)
    assert raised.value.field == path


def test_nesting_is_bounded():
    read_filter(nested(16), SCHEMA, LIMITS)
    with pytest.raises(InvalidFilter, match="deep"):
        read_filter(nested(17), SCHEMA, LIMITS)


@pytest.mark.parametrize("place", ["field", "value"])
def test_a_filter_of_too_many_bytes_is_refused_wherever_they_are(place):
    text = "a" * LIMITS.max_filter_bytes
    eq = EqFilter(field=text) if place == "field" else EqFilter(field="tags", value=Value(string_value=text))
    with pytest.raises(LimitExceeded) as raised:
        read_filter(Filter(negation=Filter(eq=eq)), SCHEMA, LIMITS)
    assert raised.value.field == "filter"
