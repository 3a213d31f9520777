"""Tokens beyond the embedding, and tokenizers without a fast form."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.tokenization.conversion import definition_of, fast
from clipserve_exporter.tokenization.folder import load
from tokenizers import Tokenizer
from transformers import SiglipTokenizer

from testing.tokenizers import Built


def test_a_vocabulary_larger_than_the_embedding_is_refused(built: Callable[[str], Built]) -> None:
    tokenizer = load({}, built("roberta").folder).wrapper.tokenizer
    with pytest.raises(ExportError, match=r"has 482 tokens, but the text tower has embeddings for 481"):
        definition_of("roberta", tokenizer, 481)


@pytest.mark.parametrize("kind", ["siglip", "xlm_roberta", "nllb", "siglip2"])
def test_reserved_tokens_beyond_the_embedding_are_left_out(kind: str, built: Callable[[str], Built]) -> None:
    vocabulary = built(kind).text_cfg["vocab_size"]
    tokenizer = load({}, built(kind).folder).wrapper.tokenizer
    tokenizer.add_tokens([f"<extra_id_{i}>" for i in range(5)])
    assert len(tokenizer) == vocabulary + 5
    definition = definition_of(kind, tokenizer, vocabulary)
    assert max(Tokenizer.from_str(definition).get_vocab().values()) == vocabulary - 1


def test_a_definition_has_no_truncation_and_no_padding(built: Callable[[str], Built]) -> None:
    loaded = load({}, built("siglip2").folder)
    loaded.wrapper(["a cat"])
    parts = json.loads(definition_of("gemma", loaded.wrapper.tokenizer, 10_000))
    assert (parts["truncation"], parts["padding"]) == (None, None)


def test_siglips_slow_tokenizer_becomes_t5s_with_the_same_ids(built: Callable[[str], Built]) -> None:
    folder = built("siglip").folder
    slow = SiglipTokenizer(str(folder / "spiece.model"))
    slow.save_pretrained(folder.parent / "slow")
    converted = fast(slow, str(folder.parent / "slow"))
    assert converted.is_fast
    for text in ("a photo of a cat", "une photo d un chat noir", "一张黑猫", ""):
        assert converted(text).input_ids == slow(text).input_ids
    assert converted.pad_token_id == slow.pad_token_id == 1


def test_a_tokenizer_that_does_not_run_on_tokenizers_is_refused() -> None:
    with pytest.raises(ExportError, match="is a SimpleNamespace, which does not run on the library"):
        definition_of("slow", SimpleNamespace(), 100)
