"""Where a tokenizer splits texts otherwise than sentencepiece itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clipserve_exporter.tokenization.folder import load
from clipserve_exporter.tokenization.pieces import differences

from testing.tokenizers import Built


@pytest.mark.parametrize("kind", ["siglip", "xlm_roberta", "nllb"])
def test_plain_texts_have_the_pieces_of_sentencepiece(kind: str, built: Callable[[str], Built]) -> None:
    loaded = load({}, built(kind).folder)
    texts = ["a photo of a cat", "фотография маленькой собаки", "一张黑猫坐在红色沙发上的照片", "😀 x"]
    said = differences(loaded.place, loaded.wrapper.tokenizer, loaded.wrapper.tokenizer, texts)
    assert said == (
        "; sentencepiece itself was asked for 4 of them (up to 2,000 characters, without special tokens), "
        "and splits all in the same way"
    )


def test_texts_that_differ_are_counted_and_shown(built: Callable[[str], Built]) -> None:
    # The class of T5 in transformers has no bytes as fallback; the sentencepiece model has.
    loaded = load({}, built("mt5").folder)
    said = differences(loaded.place, loaded.wrapper.tokenizer, loaded.wrapper.tokenizer, ["a cat", "😀"])
    assert said == (
        "; sentencepiece itself was asked for 2 of them (up to 2,000 characters, without special tokens), "
        "and splits 1 in another way, for example '😀': such texts keep the ids of open_clip"
    )


def test_without_a_sentencepiece_model_nothing_is_said(built: Callable[[str], Built]) -> None:
    loaded = load({}, built("roberta").folder)
    assert differences(loaded.place, loaded.wrapper.tokenizer, loaded.wrapper.tokenizer, ["a"]) == ""
