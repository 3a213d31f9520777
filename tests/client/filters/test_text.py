"""Filters as text: syntax, meaning, and that nothing else is accepted."""

from __future__ import annotations

import contextlib
import datetime as dt
import operator
import re
import warnings

import numpy as np
import pytest
from clipserve.filters.conditions import And, Eq, F, In, Not, Or, Range
from clipserve.filters.text import parse_filter
from hypothesis import given
from hypothesis import strategies as st

MAY = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)
SCHEMA = {
    "kind": "string",
    "year": "int",
    "weight": "double",
    "public": "bool",
    "taken": "timestamp",
    "tags": "string_list",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kind == "cat"', Eq("kind", "cat")),
        ("kind == 'it\\'s\\n'", Eq("kind", "it's\n")),
        ('"cat" == kind', Eq("kind", "cat")),
        ('kind != "cat"', Not(Eq("kind", "cat"))),
        ("year < 2020", Range("year", lt=2020)),
        ("year <= -2020", Range("year", lte=-2020)),
        ("year > +2_020", Range("year", gt=2020)),
        ("2020 >= year", Range("year", lte=2020)),
        ("2010 <= year < 2020", Range("year", gte=2010, lt=2020)),
        ("2020 > year >= 2010", Range("year", gte=2010, lt=2020)),
        ("1 < year > 2", And((Range("year", gt=1), Range("year", gt=2)))),
        ("1 < a < 2 < b", And((Range("a", gt=1), Range("a", lt=2), Range("b", gt=2)))),
        ("weight == .5", Eq("weight", 0.5)),
        ("weight == 1e-3", Eq("weight", 0.001)),
        ("public == true or public == False", Or((Eq("public", True), Eq("public", False)))),
        ("year in [1, -2]", In("year", (1, -2))),
        ('kind in ("a", "b",)', In("kind", ("a", "b"))),
        ("year not in [1]", Not(In("year", (1,)))),
        ('"beach" in tags', Eq("tags", "beach")),
        ('"beach" not in tags', Not(Eq("tags", "beach"))),
        ('taken >= timestamp("2024-05-01")', Range("taken", gte=MAY)),
        ('taken == timestamp("2024-05-01T02:00:00+02:00")', Eq("taken", MAY)),
        ("a == 1 and b == 2 and c == 3", And((Eq("a", 1), Eq("b", 2), Eq("c", 3)))),
        ("a == 1 and (b == 2 and c == 3)", And((Eq("a", 1), Eq("b", 2), Eq("c", 3)))),
        ("a == 1 or b == 2 and c == 3", Or((Eq("a", 1), And((Eq("b", 2), Eq("c", 3)))))),
        ("(a == 1 or b == 2) and c == 3", And((Or((Eq("a", 1), Eq("b", 2))), Eq("c", 3)))),
        ("not a == 1 or b == 2", Or((Not(Eq("a", 1)), Eq("b", 2)))),
        ("not not a == 1", Not(Not(Eq("a", 1)))),
        (" \n a == 1\n  and b == 2\t", And((Eq("a", 1), Eq("b", 2)))),
        ('field("class") == 1', Eq("class", 1)),
        ('1 < field("two words") < 5', Range("two words", gt=1, lt=5)),
        ("timestamp == 1 and field == 2", And((Eq("timestamp", 1), Eq("field", 2)))),
    ],
)
def test_texts_mean_what_python_would_mean(text, expected):
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('taken >= "2024-05-01"', Range("taken", gte=MAY)),
        ('taken in ["2024-05-01T00:00:00Z"]', In("taken", (MAY,))),
        ("weight == 1", Eq("weight", 1.0)),
        ("0 <= weight < 1.5", Range("weight", gte=0.0, lt=1.5)),
        ('"a" in tags and tags in ["b", "c"]', And((Eq("tags", "a"), In("tags", ("b", "c"))))),
    ],
)
def test_a_schema_says_how_values_are_read(text, expected):
    condition = parse_filter(text, SCHEMA)
    assert condition == expected
    assert condition.message() == expected.message()


@pytest.mark.parametrize(
    ("text", "column", "hint"),
    [
        ("year = 2020", 6, "write =="),
        ("a == 1 && b == 2", 8, "write and"),
        ("a == 1 || b == 2", 8, "write or"),
        ("a == 1 AND b == 2", 8, "lower case"),
        ("!(a == 1)", 1, "write not"),
        ("a is 1", 3, "write =="),
        ("a == None", 6, "cannot test for missing fields"),
        ("a <> 1", 3, "write !="),
        ("a", 1, "a == true"),
        ("a == b", 6, "not two fields; put strings in quotes"),
        ("1 == 2", 6, "not two values"),
        ('a == "x', 6, "never closed"),
        ('a == "x\ny"', 6, "never closed"),
        ("(a == 1", 1, "never closed"),
        ("a == 1)", 7, "no bracket is open"),
        ("(a == 1]", 8, "no bracket is open"),
        ('a == f"{b}"', 7, "no prefix before the quotes"),
        ('a in ["b" "c"]', 11, "comma or an operator is missing"),
        ("a == 1e999", 6, "too large"),
        ("a == 9223372036854775808", 6, "64 bits"),
        ("a == 0x10", 6, "not a number"),
        ("a == 1j", 6, "not a number"),
        ("a.b == 1", 2, "nested fields do not exist"),
        ("a[0] == 1", 1, "not a value"),
        ("a + 1 == 2", 1, "not a value"),
        ("a == [1]", 6, "not a value"),
        ("a in []", 6, "empty"),
        ("a in b", 6, "write FIELD in"),
        ("1 in a", 1, "only strings"),
        ("a < true", 1, "no order"),
        ('-"x" == a', 2, "only numbers have a sign"),
        ("a == --1", 7, "not a value"),
        ("lambda: 1", 1, 'field("lambda")'),
        ("a == 1 if b else 2", 8, 'field("if")'),
        ("class == 1", 1, 'field("class")'),
        ('eval("1") == a', 1, "other calls are not supported"),
        ('a == timestamp("soon")', 6, "not a timestamp"),
        ('a == timestamp("2024-05-01", 1)', 6, 'timestamp("2024-05-01")'),
        ("field(1) == 1", 1, 'field("name")'),
        ('"é" == ü', 8, "'ü' is not allowed"),
        ('"éé" == a and b', 15, "b == true"),
        ("{1}", 1, "square brackets"),
        ("a == 1 b", 1, "not a condition"),
        ("a == 1 ==", 9, "not a condition"),
        ("(a, b)", 1, "not a condition"),
        ("a == 1\x00", 7, "is not allowed"),
    ],
)
def test_what_is_no_filter_is_refused_with_place_and_cure(text, column, hint):
    with pytest.raises(ValueError, match=rf"^column {column}: .*{re.escape(hint)}"):
        parse_filter(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nothing == 1", "no field 'nothing'; its fields are kind, year"),
        ("year == 2.0", "give a whole number"),
        ('year == "2020"', "give a whole number"),
        ("year == true", "give a whole number"),
        ("kind == 1", "give a string in quotes"),
        ("public == 1", "true or false"),
        ("weight == true", "give a number"),
        ('taken == "someday"', 'such as "2024-05-01"'),
        ("taken == 2024", "2024-05-01"),
        ('"a" in kind', "is not a list"),
        ('tags < "a"', "has no order"),
        ("public in [1]", "true or false"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(text, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        parse_filter(text, SCHEMA)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("a == 1 or " * 1_001 + "a == 1", "10,000 characters"),
        ("(" * 33 + "a == 1" + ")" * 33, "32 deep"),
        ("not " * 17 + "a == 1", "16 consecutive not"),
        ("not (" * 20 + "a == 1" + ")" * 20, "16 deep"),
        ("-" * 9_990 + "1 == a", "not a value|too complex"),
        ("(" * 9_990, "32 deep"),
        ("not " * 2_400 + "a", "16 consecutive not"),
    ],
)
def test_length_and_depth_are_bounded(text, hint):
    with pytest.raises(ValueError, match=hint):
        parse_filter(text)


def test_the_longest_chain_is_flat():
    text = " or ".join(f"a == {i}" for i in range(600))
    assert len(parse_filter(text).filters) == 600


def test_filters_given_as_text_or_built_are_equal():
    built = (F("year") >= 2020) & ((F("kind") == "cat") | ~F("tags").isin(["a", "b"]))
    assert parse_filter("year >= 2020 and (kind == 'cat' or tags not in ['a', 'b'])") == built


def test_values_of_numpy_are_shown_as_numbers():
    assert repr(F("a").isin([np.float32(0.5), np.int64(3)])) == "a in [0.5, 3]"


names = st.sampled_from(
    ("a", "year", "class", "true", "timestamp", "field", "two words", "ü", 'q"')
) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
# Only fixed offsets: Python treats a repeated hour of a time zone as equal to no other time.
zones = st.builds(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)), st.integers(-1439, 1439))
values = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.datetimes(timezones=zones, allow_imaginary=False)
)
ordered = values.filter(lambda value: not isinstance(value, bool))
ranges = st.builds(
    lambda field, low, high, pair: Range(field, **({pair[0]: low} | {pair[1]: high})),
    names,
    ordered,
    ordered,
    st.sampled_from([(a, b) for a in ("gt", "gte") for b in ("lt", "lte")]),
)
leaves = (
    st.builds(Eq, names, values)
    | st.builds(In, names, st.lists(values, min_size=1, max_size=3).map(tuple))
    | ranges
    | st.builds(lambda field, bound, value: Range(field, **{bound: value}), names,
                st.sampled_from(("gt", "gte", "lt", "lte")), ordered)
)  # fmt: skip
conditions = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner) | st.builds(operator.and_, inner, inner) | st.builds(operator.or_, inner, inner)
    ),
    max_leaves=8,
)


@given(conditions)
def test_every_filter_is_shown_as_text_that_means_it(condition):
    assert parse_filter(repr(condition)) == condition


WORDS = (
    "a",
    "year",
    '"x"',
    "'y",
    "1",
    "-",
    "2.5",
    "==",
    "!=",
    "<",
    "<=",
    "in",
    "not",
    "and",
    "or",
    "(",
    ")",
    "[",
)
MORE = (
    "]",
    ",",
    "true",
    "None",
    "is",
    "timestamp",
    "field",
    "lambda",
    ":",
    ".",
    "=",
    "\\",
    "\n",
    "f'",
    "{",
    "é",
)


def only_value_errors(text, schema=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about invalid escapes in strings
        with contextlib.suppress(ValueError):
            assert parse_filter(text, schema).message().WhichOneof("node")


@given(st.text())
def test_any_text_is_a_filter_or_a_value_error(text):
    only_value_errors(text)


@given(st.lists(st.sampled_from(WORDS + MORE), max_size=30).map(" ".join), st.booleans())
def test_any_words_in_any_order_are_a_filter_or_a_value_error(text, with_schema):
    only_value_errors(text, {"a": "double", "year": "int"} if with_schema else None)


@given(st.lists(st.sampled_from(WORDS + MORE), max_size=30).map("".join))
def test_any_words_run_together_are_a_filter_or_a_value_error(text):
    only_value_errors(text)
