"""Cleaning a part of a text gives the same as cleaning the whole text."""

from __future__ import annotations

import html
import string
import time

import ftfy
import pytest
from clipserve_gateway.inputs import clean_text
from clipserve_gateway.inputs.clean_text import LAST_STEP, CleanRule, clean, lines
from hypothesis import given, settings
from hypothesis import strategies as st

PLAIN = [
    "a",
    "Dog",
    "&",
    ";",
    "<b>",
    "&amp;",
    "&amp;amp;",
    "&#38;#x26;",
    "amp;",
    "#38;",
    "AMP;",
    "lt;",
    "&AMP",
    "&lt;",
    "&Eacute;",
    "Σ",
    "İ",
    "ß",
    "日本",
    "😀",
    "_",
    "!",
    "'",
    "Ǆ_",
]
SPACES = [" ", "\n", "\r\n", "\t", "\x0b", "\x1c", "\x7f", "\x85", "\xa0", "\u2028", "\x1b[1m", "\ufeff"]
MANGLED = ["cafÃ©", "donâ€™t", "â€", "Ã", "“", "ﬁ", "e\u0301"]
RULES = st.sampled_from([*LAST_STEP, "none"])
PARTS = st.sampled_from([*PLAIN, *SPACES, *MANGLED])


def whole_text_cleaned(text: str, rule: CleanRule = "lower") -> str:
    """As open_clip's tokenizers do it."""
    if rule == "none":
        return text
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    if rule == "canonicalize":
        # The steps of big_vision's canonicalize_text, in its order.
        text = text.replace("_", " ").translate({ord(mark): None for mark in string.punctuation})
    if rule != "whitespace":
        text = text.lower()
    return " ".join(text.split())


@given(st.lists(PARTS | st.text(max_size=5), max_size=25).map("".join), RULES)
@settings(max_examples=400, deadline=None)
def test_equals_cleaning_the_whole_text(text: str, rule: CleanRule) -> None:
    assert clean(text, 100_000, rule) == (whole_text_cleaned(text, rule), True)


@given(st.text(st.characters(max_codepoint=127), max_size=80), RULES)
@settings(max_examples=300, deadline=None)
def test_the_short_way_for_ascii_gives_the_same(text: str, rule: CleanRule) -> None:
    assert clean(text, 100_000, rule)[0] == whole_text_cleaned(text, rule)


@given(st.lists(PARTS | st.text(max_size=5), max_size=25).map("".join), st.integers(1, 30), RULES)
@settings(max_examples=200, deadline=None)
def test_a_cleaned_beginning_is_that_of_the_whole_text(text: str, enough: int, rule: CleanRule) -> None:
    start, whole = clean(text, enough, rule)
    entire = whole_text_cleaned(text, rule)
    assert entire == start if whole else entire.startswith(start)


def test_each_rule_does_what_its_name_says() -> None:
    text = " A_b,  C! &amp; d\u00e9ja\u0300 "
    assert clean(text, 100, "whitespace")[0] == "A_b, C! & déjà"
    assert clean(text, 100, "lower")[0] == "a_b, c! & déjà"
    assert clean(text, 100, "canonicalize")[0] == "a b c déjà"
    assert clean(text, 100, "none")[0] == text
    assert clean(text, 3, "none") == (" A_", False)


def test_a_word_longer_than_a_part_stays_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_text, "LINE", 10)
    assert clean("é" * 35 + " x", 1_000) == ("é" * 35 + " x", True)


@given(st.text(max_size=200), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_lines_lose_nothing_but_blank_ones(text: str, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean_text, "LINE", longest)
        parts = list(lines(text))
    assert all(len(line) <= longest for line in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_reading_ends_once_there_is_enough() -> None:
    text = "é\n" * 1_000
    assert clean(text, 100) == (" ".join("é" * 100), False)
    assert clean(text, 1_000) == (" ".join("é" * 1_000), True)


def test_lines_that_hold_nothing_end_the_reading_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_text, "LINES", 10)
    assert clean("\0\n" * 10, 100) == ("", True)
    assert clean("\0\n" * 10 + "é", 100) == ("", False)


@pytest.mark.parametrize("number", ["9" * 5_000, "0" * 5_000 + "9" * 8, "0" * 5_000])
def test_an_entity_of_any_length_is_one_character_that_is_none(number: str) -> None:
    assert clean(f"a &#{number}; b", 100_000) == ("a \ufffd b", True)


@pytest.mark.parametrize("again", ["amp;", "#38;", "#x26;", "AMP;#038;"])
def test_entities_in_entities_take_no_longer_than_others(again: str) -> None:
    start = time.process_time()
    assert clean("&" + again * (18_000 // len(again)) + "lt;b>", 100_000) == ("<b>", True)
    assert time.process_time() - start < 0.05


def test_zeros_before_an_entitys_number_do_not_count() -> None:
    assert clean("&#" + "0" * 5_000 + "65;&#65;&amp;#" + "0" * 30 + "65", 100_000) == ("aaa", True)


def test_long_lines_are_cut_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_text, "LINE", 10)
    assert clean("héllo wörld déjà vu", 1_000) == ("héllo wörld déjà vu", True)
