"""The corpus: large, of every sort, and always the same."""

from __future__ import annotations

import unicodedata

from clipserve_exporter.tokenization.corpus import corpus


def test_it_has_thousands_of_different_texts_that_are_valid_utf8() -> None:
    texts = {text for some in corpus(["▁a", "b"], ["</s>"]).values() for text in some}
    assert len(texts) > 2000
    for text in texts:
        text.encode()


def test_it_is_always_the_same() -> None:
    assert corpus(["▁a", "b"], ["</s>"]) == corpus(["▁a", "b"], ["</s>"])


def test_special_tokens_are_spelled_out_alone_and_inside_words() -> None:
    assert {"</s>", "a</s>b", "</S>"} <= set(corpus([], ["</s>"])["special"])


def test_it_has_scripts_marks_controls_and_directions() -> None:
    text = "".join(text for some in corpus([], []).values() for text in some)
    names = {unicodedata.name(character, "").split(" ")[0] for character in set(text)}
    assert {"LATIN", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "DEVANAGARI", "THAI", "HANGUL", "CJK"} <= names
    assert {"\0", "\u200d", "\u202e", "\u0301", "\ufe0f", "\ufffd"} <= set(text)
