"""--filter of `clipserve search`, and --where, which it replaces."""

from __future__ import annotations

import datetime as dt
from shlex import quote

import pytest
from clipserve.filters.conditions import And, Eq, Not, Range
from clipserve.filters.text import parse_filter
from clipserve.tools.cli.common import filter_of_where

DAY = dt.datetime(2024, 5, 1, tzinfo=dt.timezone.utc)
SCHEMA = {"n": "int", "x": "double", "b": "bool", "t": "timestamp", "s": "string", "l": "string_list"}
SCHEMA |= {"class": "int"}


def test_conditions_narrow_the_search(answer, run, photos):
    answer("index", photos, "-c", "holiday")
    document = answer("search", "x", "-c", "holiday", "-f", 'folder == "sea" and modified >= "2020-01-01"')
    assert {hit["payload"]["folder"] for hit in document["hits"]} == {"sea"}
    assert answer("search", "x", "-c", "holiday", "-f", "bytes > 99999999")["hits"] == []
    assert "nothing found" in run("search", "x", "-c", "holiday", "--threshold", "1").output
    assert "has no field 'year'" in run("search", "x", "-c", "holiday", "-f", "year == 1", code=2).output


@pytest.mark.parametrize(
    ("conditions", "text", "expected"),
    [
        (["n=5"], "n == 5", Eq("n", 5)),
        (["n != 5"], "n != 5", Not(Eq("n", 5))),
        (["x>=2"], "x >= 2", Range("x", gte=2.0)),
        (["x<.5", "n>1"], "x < .5 and n > 1", And((Range("x", lt=0.5), Range("n", gt=1)))),
        (["b=yes"], "b == true", Eq("b", True)),
        (["b=False"], "b == false", Eq("b", False)),
        (["s=a='b', \"c\""], "s == 'a=\\'b\\', \"c\"'", Eq("s", "a='b', \"c\"")),
        (["s="], "s == ''", Eq("s", "")),
        (["l=tag"], "l == 'tag'", Eq("l", "tag")),
        (["s<=m"], "s <= 'm'", Range("s", lte="m")),
        (["t>=2024-05-01"], "t >= '2024-05-01'", Range("t", gte=DAY)),
        (["class=7"], "field('class') == 7", Eq("class", 7)),
    ],
)
def test_where_is_translated_to_a_filter(conditions, text, expected):
    assert filter_of_where(conditions, SCHEMA) == text
    assert parse_filter(text, SCHEMA) == expected


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("nonsense", "is not FIELD=VALUE; use --filter instead"),
        ("year=5", "has no field 'year'"),
        ("bytes=five", "compare a field with a value"),
        ("modified=someday", "'someday'"),
    ],
)
def test_where_that_cannot_be_read_says_why(answer, run, photos, condition, hint):
    answer("index", photos, "-c", "holiday")
    told = run("search", "x", "-c", "holiday", "--where", condition, code=2).stderr
    assert "--where" in told
    assert hint in " ".join(told.split())


def test_where_still_works_and_says_how_to_write_it_as_a_filter(answer, run, photos):
    answer("index", photos, "-c", "holiday")
    words = ("search", "x", "-c", "holiday")
    where = ("-w", "folder=sea", "--where", "modified>=2020-01-01")
    as_filter = "folder == 'sea' and modified >= '2020-01-01'"
    assert answer(*words, *where)["hits"] == answer(*words, "--filter", as_filter)["hits"]
    told = run(*words, *where).stderr
    assert (
        f"Warning: --where is deprecated and goes with the next release; write --filter {quote(as_filter)}"
        in told
    )
    assert "--where" not in run("search", "--help").output
    assert answer(*words, "--filter", 'folder == "sea"', "-w", "folder!=sea")["hits"] == []
