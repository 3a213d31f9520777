from __future__ import annotations

import pytest
from clipserve.filters.conditions import And, Eq, F, In, Not, Or, Range
from clipserve.filters.text import parse_filter
from clipserve.v1 import common_pb2


def test_operators_build_the_tree():
    year, kind = F("year"), F("kind")
    assert (kind == "a") == Eq("kind", "a")
    assert (kind != "a") == Not(Eq("kind", "a"))
    assert (year > 1) == Range("year", gt=1)
    assert (year >= 1) == Range("year", gte=1)
    assert (year < 1) == Range("year", lt=1)
    assert (year <= 1) == Range("year", lte=1)
    assert (year >= 1) == Range("year", gte=1)
    assert year.between(1, 2) == Range("year", gte=1, lte=2)
    assert kind.isin({"a"}) == In("kind", ("a",))
    assert ((kind == "a") & (year > 1)) == And((Eq("kind", "a"), Range("year", gt=1)))
    assert ((kind == "a") | (year > 1)) == Or((Eq("kind", "a"), Range("year", gt=1)))


def test_messages_say_the_same():
    message = (~(F("a") == True) & F("b").between(0, 2.5) & F("c").isin(["x"])).message()  # noqa: E712
    negation, range_, in_list = message.all_of.filters
    assert negation.negation.eq == common_pb2.EqFilter(field="a", value=common_pb2.Value(bool_value=True))
    assert range_.range.gte.int_value == 0
    assert range_.range.lte.double_value == 2.5
    assert not range_.range.HasField("gt")
    assert in_list.in_list.values[0].string_value == "x"


def test_zero_and_false_bind():
    assert (F("a") >= 0).message().range.HasField("gte")
    assert (F("a") == False).message().eq.value.WhichOneof("kind") == "bool_value"  # noqa: E712


def test_long_chains_stay_flat():
    chain = F("a") == 0
    for i in range(1, 50):
        chain = chain | (F("a") == i)
    assert len(chain.message().any_of.filters) == 50


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: 1 < F("a") < 2,
        lambda: (F("a") == 1) and (F("b") == 2),
        lambda: not F("a").isin([1]),
    ],
)
def test_pythons_own_logic_is_refused_with_the_cure(mistake):
    with pytest.raises(TypeError, match="combine filters with &"):
        mistake()


def test_filters_combine_with_filters_only():
    with pytest.raises(TypeError, match="expected a filter"):
        (F("a") == 1) & True
    with pytest.raises(ValueError, match="at least one"):
        F("a").isin([])
    with pytest.raises(TypeError):
        hash(F("a"))


def test_filters_read_like_what_was_written():
    condition = (F("year") >= 2020) & ~F("tags").isin(["blurred"]) & ((F("a") == 1) | (F("b") < 2))
    assert repr(condition) == "(year >= 2020 and not tags in ['blurred'] and (a == 1 or b < 2))"


@pytest.mark.parametrize("name", ["true", "class", "AND", "OR", "NOT", "IN", "None"])
def test_fields_with_the_names_of_refused_words_can_be_parsed_again(name):
    assert parse_filter(repr(F(name) == 1)) == (F(name) == 1)
