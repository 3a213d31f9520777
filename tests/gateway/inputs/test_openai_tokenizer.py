"""Token ids equal to OpenAI's, for any text and any context length, in bounded time."""

from __future__ import annotations

import functools
import itertools
import json
import random
import subprocess
import sys
import time
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipserve_gateway.inputs.clean_text import clean
from clipserve_gateway.inputs.openai_tokenizer import SPECIAL, OpenAITokenizer, load_bpe
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
GOLDEN: list[dict[str, Any]] = json.loads((ROOT / "tests/golden/tokens.json").read_text())
OPEN_CLIP: list[dict[str, Any]] = json.loads((ROOT / "tests/golden/open_clip_tokens.json").read_text())
SHARED = ROOT.parent / "shared" / "data" / "golden" / "clip_bpe_token_ids.json"

START, END = SPECIAL["openai"]

tokenizer = OpenAITokenizer()


def ids(text: str, context_length: int = 77) -> list[int]:
    (tokens,) = OpenAITokenizer(context_length).encode([text])
    return tokens.ids.tolist()


@pytest.mark.parametrize("row", GOLDEN, ids=[repr(row["text"][:40]) for row in GOLDEN])
def test_golden_strings(row: dict[str, Any]) -> None:
    (tokens,) = tokenizer.encode([row["text"]])
    assert tokens.ids.tolist() == row["ids"]
    assert tokens.truncated == row["truncated"]


@pytest.mark.skipif(not SHARED.exists(), reason="the data set of OpenAI's token ids is not on this machine")
def test_strings_that_openai_tokenized() -> None:
    items = json.loads(SHARED.read_text())["items"]
    for item, tokens in zip(items, tokenizer.encode([item["text"] for item in items]), strict=True):
        assert tokens.ids.tolist() == item["ids"], item["text"]
        assert tokens.truncated == (item["n_untruncated"] > 77), item["text"]


def test_ids_are_int32_with_start_and_end() -> None:
    assert tokenizer.encode([]) == []
    (tokens,) = tokenizer.encode(["a dog"])
    assert tokens.ids.dtype == np.int32
    assert tokens.ids.tolist() == [49406, 320, 1929, 49407]


class Plain:
    """Byte-pair encoding by its definition: repeatedly joins the pair that was learned first."""

    def __init__(self) -> None:
        self.vocabulary, merges = load_bpe()
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = iter(range(256, 512))
        self.symbols = [chr(byte if byte in printable else next(others)) for byte in range(256)]

    def piece(self, piece: str) -> list[int]:
        if piece in (START, END):
            return [self.vocabulary[piece]]
        word = [self.symbols[byte] for byte in piece.encode()]
        word[-1] += "</w>"
        while True:
            known = [
                (self.ranks[pair], i) for i, pair in enumerate(itertools.pairwise(word)) if pair in self.ranks
            ]
            if not known:
                return [self.vocabulary[part] for part in word]
            _, i = min(known)
            word[i : i + 2] = [word[i] + word[i + 1]]

    def encode(self, cleaned: str) -> list[int]:
        ids: list[int] = []
        while cleaned:
            piece = self.first(cleaned)
            cleaned = cleaned[len(piece) :]
            if not piece.isspace():
                ids += self.piece(piece)
        return ids

    def first(self, text: str) -> str:
        """The first piece of a text: a special token, an ending, letters, a digit, or other signs."""
        for special in (START, END, "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
            if text.startswith(special):
                return special
        kinds = "".join(self.kind(char) for char in text)
        if kinds[0] in "N ":
            return text[0]
        return text[: len(kinds) - len(kinds.lstrip(kinds[0]))]

    @staticmethod
    def kind(char: str) -> str:
        category = unicodedata.category(char)[0]
        return " " if char == " " else category if category in "LN" else "?"


@functools.cache
def plain() -> Plain:
    return Plain()


WORDS = st.sampled_from(
    [
        "a",
        "dog's",
        "they'll",
        "DON'T",
        "café",
        "naïve",
        "日本語",
        "привет",
        "😀",
        "42",
        "½",
        "!!",
        "-",
        START,
        END,
        "<|",
        "x" * 70,
    ]
)


@given(
    st.lists(WORDS | st.text(st.characters(max_codepoint=0x24F), max_size=12), max_size=30),
    st.sampled_from(" \n"),
)
@settings(max_examples=150, deadline=None)
def test_equals_byte_pair_encoding_as_it_is_explained(words: list[str], space: str) -> None:
    text = space.join(words)
    expected = plain().encode(clean(text, 10_000)[0])
    (tokens,) = tokenizer.encode([text])
    assert tokens.truncated == (len(expected) > 75)
    assert tokens.ids.tolist() == [49406, *expected[:75], 49407]


@given(st.lists(st.text(max_size=40), max_size=20))
@settings(max_examples=50, deadline=None)
def test_texts_of_a_batch_do_not_touch_each_other(texts: list[str]) -> None:
    together = tokenizer.encode(texts)
    assert [tokens.ids.tolist() for tokens in together] == [ids(text) for text in texts]


@pytest.mark.parametrize("context_length", [2, 3, 16, 64, 77, 128])
@pytest.mark.parametrize("words", [0, 1, 14, 15, 62, 63, 75, 76, 126, 127, 300])
def test_any_context_length_keeps_the_beginning(context_length: int, words: int) -> None:
    (tokens,) = OpenAITokenizer(context_length).encode(["dog " * words])
    assert tokens.ids.tolist() == [49406, *[1929] * min(words, context_length - 2), 49407]
    assert tokens.truncated == (words > context_length - 2)


@pytest.mark.parametrize("row", OPEN_CLIP, ids=[repr(row["text"][:40]) for row in OPEN_CLIP])
def test_special_tokens_in_open_clips_spelling(row: dict[str, Any]) -> None:
    (tokens,) = OpenAITokenizer(77, "open_clip").encode([row["text"]])
    assert (tokens.ids.tolist(), tokens.truncated) == (row["ids"], row["truncated"])


def test_each_spelling_reads_the_other_one_as_plain_text() -> None:
    for kind, other in (("openai", "open_clip"), ("open_clip", "openai")):
        for special in SPECIAL[other]:
            (tokens,) = OpenAITokenizer(77, kind).encode([special])
            assert not {49406, 49407} & set(tokens.ids[1:-1].tolist())


def test_a_context_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no space"):
        OpenAITokenizer(1)


LONG = {
    "words": "a dog " * 50_000,
    "one word": "a" * 300_000,
    "one word of signs": "a." * 150_000,
    "one word beyond ascii": "é" * 300_000,
    "spaces between": "é" + " " * 300_000 + "dog",
    "empty lines": "é" + "\r\n" * 150_000 + "dog",
    "lines": "é\n" * 150_000,
    "lines of nothing": "\0\n" * 150_000,
    "mojibake": "Ð¿Ñ\x80Ð¸Ð²ÐµÑ\x82 " * 20_000,
    "mojibake without spaces": "â€œ" * 100_000,
    "entities": "&amp;" * 60_000,
    "entities of nothing": "&#1;" * 60_000,
    "ampersands": "&" * 300_000,
    "special tokens": START * 20_000,
    "escapes": "\x1b[31m" * 60_000,
}


@pytest.mark.parametrize("kind", LONG)
def test_long_texts_take_little_time_whatever_they_hold(kind: str) -> None:
    start = time.process_time()
    (tokens,) = tokenizer.encode([LONG[kind]])
    assert time.process_time() - start < 1.5
    assert len(tokens.ids) <= 77
    assert tokens.truncated == (
        kind not in {"spaces between", "empty lines", "entities of nothing", "escapes"}
    )


@pytest.mark.parametrize(
    "kind", ["words", "one word", "one word of signs", "one word beyond ascii", "lines", "entities"]
)
def test_the_end_of_a_long_text_has_no_influence(kind: str) -> None:
    assert ids(LONG[kind]) == ids(LONG[kind][:12_000])


@given(
    st.integers(),
    st.sampled_from(["ab", "aet", "the", "aeinorst", "abcdefghijklmnopqrstuvwxyz", "é日a", "!.a"]),
)
@settings(max_examples=40, deadline=None)
def test_a_cut_word_begins_like_the_whole_word(seed: int, letters: str) -> None:
    # Merges have a bounded reach: the part that is cut off cannot change the kept ids.
    word = "".join(random.Random(seed).choices(letters, k=9_000))
    assert ids(word)[:76] == ids(word, context_length=10_000)[:76]


def test_short_prompts_are_fast() -> None:
    prompts = [
        f"a photo of a {noun} number {i}." for i in range(2_500) for noun in ("dog", "cat", "bird", "fish")
    ]
    start = time.process_time()
    tokenizer.encode(prompts)
    # This takes 0.15 s; 80,000 prompts (1,000 labels, 80 templates) take one or two seconds.
    assert time.process_time() - start < 2


def test_nothing_is_loaded_before_the_first_text() -> None:
    code = (
        "from clipserve_gateway.inputs import openai_tokenizer;"
        "openai_tokenizer.OpenAITokenizer(77);"
        "print(openai_tokenizer.load_tokenizer.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
