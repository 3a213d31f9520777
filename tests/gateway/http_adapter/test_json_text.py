from __future__ import annotations

import pytest
from clipserve_gateway.errors import InvalidInput, LimitExceeded
from clipserve_gateway.http_adapter.json_text import FREE_BYTES, MOST_VALUES, kind_of, most_values, read_json


@pytest.mark.parametrize(
    ("text", "document"),
    [
        (b'{"a": [1, -2.5, "x", null, true, {}]}', {"a": [1, -2.5, "x", None, True, {}]}),
        (' {"\\u00e9": "\U0001f600"}\n'.encode(), {"é": "\U0001f600"}),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_json_is_read(text, document):
    assert read_json(text) == document


@pytest.mark.usefixtures("no_garbage_collection")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "empty"),
        (b"{", "line 1, column 2"),
        (b"\n{'a': 1}", "line 2, column 2"),
        (b"{} {}", "Extra data"),
        (b'{"a": 1,}', "not JSON"),
        (b"[1 2]", "not JSON"),
        (b'"\x01"', "control character"),
        (b'"\xff"', "byte 1"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"1e999", "out of range"),
        (b"1" * 401, "401 characters"),
        (b"0." + b"1" * 401, "403 characters"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b'{"b": 1, "a": 1, "a": 2}', "'a' twice"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(text, words):
    with pytest.raises(InvalidInput, match=words):
        read_json(text)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (b'{"x": {"topK": 1, "topK": 2}}', "x.topK", "'topK' twice"),
        (b'{"inputs": [{"text": "a"}, {"text": "b", "text": "c"}]}', "inputs[1].text", "'text' twice"),
        (b'{"a": 1, "a": 2}', "a", "'a' twice"),
        (b'{"a": [NaN], "a": {"b": 1, "b": 1}}', "a", "'a' twice"),
        (b'[{"a": NaN, "b": 1, "b": 2}, NaN]', "[0].b", "'b' twice"),
        (b'[NaN, {"b": 1, "b": 2}, NaN]', "[1].b", "'b' twice"),
        (b'{"x": {}, "a": [[1, -Infinity, NaN]]}', "a[0][1]", "-Infinity"),
        (b'{"a": {"b": 1e999}, "c": NaN}', "a.b", "out of range"),
        (b'{"a": {"b": ' + b"1" * 401 + b"}}", "a.b", "401 characters"),
        (b'{"\\u001b": NaN}', "\\x1b", "NaN"),
        (b"NaN", "", "NaN"),
        (b'{"abc":' * 300 + b"NaN" + b"}" * 300, ("abc." * 101)[:400] + "…", "NaN"),
    ],
)
def test_errors_name_the_path_in_the_body(text, path, words):
    with pytest.raises(InvalidInput, match=words) as refused:
        read_json(text)
    assert refused.value.field == path


@pytest.mark.parametrize("part", [b"{}", b"[]", b"1", b'{"a":1}', b'""'])
def test_too_many_values_are_refused_before_they_are_read(part):
    with pytest.raises(LimitExceeded) as refused:
        read_json(b"[" + b",".join([part] * MOST_VALUES) + b"]")
    assert refused.value.metadata == {"limit": str(MOST_VALUES)}


def test_as_many_values_as_allowed_are_read():
    assert len(read_json(b"[" + b",".join([b"1"] * (MOST_VALUES - 2)) + b"]")) == MOST_VALUES - 2


def test_no_document_has_more_values_than_are_counted():
    for document, values in [(b"1", 1), (b"[]", 1), (b"[1,2,[3]]", 5), (b'{"a":{"b":1},"c":[]}', 4)]:
        assert most_values(document) >= values


def test_a_long_text_is_one_value():
    assert read_json(b'"' + b"a" * (4 * FREE_BYTES) + b'"') == "a" * (4 * FREE_BYTES)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "true"),
        (1, "a number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_values_have_names_for_people(value, name):
    assert kind_of(value) == name
