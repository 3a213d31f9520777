"""Every kind of tokenizer gives open_clip's ids without open_clip: by `tokenizers`, and by the gateway."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from clipserve_exporter.errors import ExportError
from clipserve_exporter.tokenization.corpus import corpus
from clipserve_exporter.tokenization.model_tokenizer import ModelTokenizer, load_tokenizer, prove
from clipserve_gateway.inputs.clean_text import clean
from clipserve_gateway.inputs.tokenizer_bundle import tokenizer_of
from clipserve_gateway.types import TokenizerSpec
from open_clip import SimpleTokenizer
from open_clip.tokenizer import HFTokenizer, get_clean_fn
from tokenizers import Tokenizer

from testing.tokenizers import Built

KINDS = ("siglip", "siglip2", "clipa", "chinese_clip", "xlm_roberta", "roberta", "mt5", "nllb")
TEXTS = [text for texts in corpus([], ["<s>", "</s>", "<pad>", "[SEP]", "<eos>"]).values() for text in texts]


def opened(tokenizer: ModelTokenizer) -> dict:
    return json.loads(gzip.decompress(tokenizer.bundle))


def assert_gateway_equals_open_clip(built: Built, tokenizer: ModelTokenizer, texts: list[str]) -> None:
    """Ids of the gateway's own code, filled up, against those of open_clip's HFTokenizer."""
    context = built.text_cfg["context_length"]
    facts = asdict(tokenizer.facts)
    in_gateway = tokenizer_of(tokenizer.bundle, TokenizerSpec(context, **facts))
    rows = np.full((len(texts), context), tokenizer.facts.pad_id)
    for row, tokens in zip(rows, in_gateway.encode(texts), strict=True):
        row[: len(tokens.ids)] = tokens.ids
    reference = HFTokenizer(str(built.folder), context, **built.text_cfg["tokenizer_kwargs"])
    np.testing.assert_array_equal(rows, reference(texts).numpy())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_gives_the_ids_of_open_clip(
    kind: str, built: Callable[[str], Built], proved: Callable[[str], ModelTokenizer]
) -> None:
    assert_gateway_equals_open_clip(built(kind), proved(kind), TEXTS[::7])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_gateway_gives_the_ids_of_open_clip_for_the_whole_corpus(
    kind: str, built: Callable[[str], Built], proved: Callable[[str], ModelTokenizer]
) -> None:
    assert_gateway_equals_open_clip(built(kind), proved(kind), TEXTS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_definition_neither_cuts_nor_pads(kind: str, proved: Callable[[str], ModelTokenizer]) -> None:
    tokenizer = Tokenizer.from_str(opened(proved(kind))["tokenizer"])
    assert tokenizer.truncation is None
    assert tokenizer.padding is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_are_those_of_the_kind(
    kind: str, built: Callable[[str], Built], proved: Callable[[str], ModelTokenizer]
) -> None:
    facts = proved(kind).facts
    assert facts.kind == "huggingface"
    assert facts.pad_id == built(kind).pad_id
    assert facts.vocab_size == built(kind).text_cfg["vocab_size"]
    assert facts.strip_id == (3 if kind == "clipa" else None)
    assert facts.clean == built(kind).text_cfg["tokenizer_kwargs"].get("clean", "whitespace")
    assert facts.sha256 == hashlib.sha256(opened(proved(kind))["tokenizer"].encode()).hexdigest()


@pytest.mark.parametrize("kind", KINDS)
def test_checks_are_texts_of_every_sort_with_their_ids(
    kind: str, built: Callable[[str], Built], proved: Callable[[str], ModelTokenizer]
) -> None:
    checks = opened(proved(kind))["checks"]
    assert 100 <= len(checks) <= 300
    texts = [check["text"] for check in checks]
    assert len(set(texts)) == len(texts)
    context, pad = built(kind).text_cfg["context_length"], proved(kind).facts.pad_id
    rows = proved(kind).encode(texts).tolist()
    for check, row in zip(checks, rows, strict=True):
        assert check["ids"] + [pad] * (context - len(check["ids"])) == row
    assert any(len(check["ids"]) == context for check in checks)
    assert any("a photo of" in text for text in texts)
    assert any(not text.isascii() for text in texts)
    assert "" in texts


@pytest.mark.parametrize("rule", ["lower", "whitespace", "canonicalize"])
def test_the_gateway_cleans_texts_as_open_clip_does(rule: str) -> None:
    reference = get_clean_fn(rule)
    for text in TEXTS:
        enough = 100_000
        assert clean(text, enough, rule) == (reference(text), True)


def test_an_export_of_the_same_tokenizer_gives_the_same_bytes(
    built: Callable[[str], Built], proved: Callable[[str], ModelTokenizer]
) -> None:
    text = built("nllb").text_cfg
    again = prove(text, load_tokenizer(text), text["context_length"], text["vocab_size"])
    assert again.bundle == proved("nllb").bundle


def test_nllbs_source_language_is_part_of_the_tokenizer(proved: Callable[[str], ModelTokenizer]) -> None:
    tokenizer = Tokenizer.from_str(opened(proved("nllb"))["tokenizer"])
    assert tokenizer.encode("a cat").tokens[0] == "fra_Latn"


def test_a_language_that_open_clip_ignores_is_told(built: Callable[[str], Built]) -> None:
    text = built("nllb").text_cfg | {"tokenizer_kwargs": {"language": "deu_Latn"}}
    tokenizer = prove(text, load_tokenizer(text), 77, text["vocab_size"])
    assert "open_clip ignores the language deu_Latn and encodes every text as fra_Latn" in tokenizer.summary
    first = int(tokenizer.encode(["a cat"])[0, 0])
    assert Tokenizer.from_str(opened(tokenizer)["tokenizer"]).id_to_token(first) == "fra_Latn"


def test_openais_tokenizer_has_the_context_of_the_model() -> None:
    tokenizer = prove({}, None, 32, 49408)
    assert (tokenizer.facts.kind, tokenizer.facts.special_tokens, tokenizer.bundle) == (
        "openai_bpe", "open_clip", b""
    )  # fmt: skip
    np.testing.assert_array_equal(
        tokenizer.encode(["a cat", "<start_of_text>"]),
        SimpleTokenizer(context_length=32)(["a cat", "<start_of_text>"]),
    )


@pytest.mark.parametrize(
    ("text_cfg", "sentence"),
    [
        (
            {"tokenizer_kwargs": {"reduction_mask": "simple"}},
            "reduction_mask 'simple', which drops other tokens",
        ),
        (
            {"tokenizer_kwargs": {"additional_special_tokens": ["<x>"]}},
            "OpenAI's tokenizer with .*<x>.*not supp",
        ),
        ({}, "OpenAI's tokenizer with 49,408 tokens, but its text tower has embeddings for 600"),
    ],
)
def test_openais_tokenizer_with_other_settings_is_refused(text_cfg: dict, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        prove(text_cfg, load_tokenizer(text_cfg), 77, 600)


def test_a_folder_is_refused_for_a_model_with_openais_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"uses OpenAI's tokenizer.*omit --tokenizer"):
        load_tokenizer({}, given=tmp_path)


@pytest.mark.parametrize("side", ["padding_side", "truncation_side"])
def test_a_tokenizer_that_works_from_the_left_is_refused(side: str, built: Callable[[str], Built]) -> None:
    text = built("xlm_roberta").text_cfg
    loaded = load_tokenizer(text)
    setattr(loaded.wrapper.tokenizer, side, "left")
    with pytest.raises(ExportError, match=f"has {side} 'left'"):
        prove(text, loaded, 77, text["vocab_size"])


def test_strip_sep_token_without_a_separator_is_refused(built: Callable[[str], Built]) -> None:
    text = built("siglip").text_cfg | {"tokenizer_kwargs": {"strip_sep_token": True}}
    with pytest.raises(ExportError, match="has no sep_token"):
        prove(text, load_tokenizer(text), 64, text["vocab_size"])


def test_a_tokenizer_whose_file_is_not_all_of_it_is_refused(built: Callable[[str], Built]) -> None:
    text = built("xlm_roberta").text_cfg
    loaded = load_tokenizer(text)
    whole = loaded.wrapper.tokenizer

    class Shouting:
        """Changes texts before the tokenizer sees them."""

        def __call__(self, texts: list[str], **settings: object) -> object:
            return whole([text.replace("foto", "photo") for text in texts], **settings)

        def __getattr__(self, name: str) -> object:
            return getattr(whole, name)

    loaded.wrapper.tokenizer = Shouting()
    with pytest.raises(
        ExportError, match=r"without open_clip it gives other token ids for \d+ of [\d,]+ texts, for"
    ):
        prove(text, loaded, 77, text["vocab_size"])
