"""Token ids by a tokenizer.json equal open_clip's, for any text, in bounded time."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections.abc import Callable

import numpy as np
import pytest
from clipserve_gateway.inputs import huggingface_tokenizer
from clipserve_gateway.inputs.huggingface_tokenizer import BadTokenizer, HuggingFaceTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from testing.golden_tokenizers import SPECS, bundle

KINDS = st.sampled_from(sorted(SPECS))


@functools.cache
def tokenizer(kind: str, context_length: int = 0) -> HuggingFaceTokenizer:
    spec = SPECS[kind]
    spec = dataclasses.replace(spec, context_length=context_length or spec.context_length)
    return HuggingFaceTokenizer(bundle(kind)["tokenizer"], spec)


@pytest.mark.parametrize("kind", SPECS)
def test_ids_and_truncation_are_those_of_open_clip(kind: str) -> None:
    checks = bundle(kind)["checks"]
    for check, tokens in zip(checks, tokenizer(kind).encode([row["text"] for row in checks]), strict=True):
        assert tokens.ids.dtype == np.int32
        assert (tokens.ids.tolist(), tokens.truncated) == (check["ids"], check["truncated"]), check["text"][
            :60
        ]


@given(
    KINDS,
    st.lists(st.text(max_size=30) | st.sampled_from(["猫", "dog ", "</s>", "[SEP]", "é", "."]), max_size=12),
)
@settings(max_examples=50, deadline=None)
def test_texts_of_a_batch_do_not_touch_each_other(kind: str, texts: list[str]) -> None:
    together = [tokens.ids.tolist() for tokens in tokenizer(kind).encode(texts)]
    assert together == [tokenizer(kind).encode([text])[0].ids.tolist() for text in texts]


@given(
    KINDS,
    st.lists(
        st.text(max_size=8) | st.sampled_from(["dog", " ", "猫", "é", "</s>", "[SEP]", "▁"]), max_size=40
    ),
    st.integers(6, 40),
    st.integers(1, 40),
)
@settings(max_examples=60, deadline=None)
def test_a_beginning_is_encoded_like_the_whole_text(
    kind: str, words: list[str], context: int, times: int
) -> None:
    text = "".join(words) * times
    (whole,) = tokenizer(kind, 100_000).encode([text])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_tokenizer, "CHARACTERS_A_TOKEN", 1)
        (tokens,) = tokenizer(kind, context).encode([text])
    assert tokens.truncated == (len(whole.ids) > context)
    if tokens.truncated:
        # The last one is the end token.
        assert tokens.ids.tolist() == [*whole.ids[: context - 1].tolist(), whole.ids[-1]]
    else:
        assert tokens.ids.tolist() == whole.ids.tolist()


LONG = {
    "words": "a dog " * 170_000,
    "one word": "a" * 1_000_000,
    "chinese": "一张黑猫坐在红色沙发上的照片" * 25_000,
    "unknown": "\u2603" * 300_000,
    "marks": "e" + "\u0301" * 500_000,
    "special tokens": "</s>" * 250_000,
    "lines of nothing": "\0\n" * 500_000,
    "spaces": "é" + " " * 1_000_000 + "dog",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_a_megabyte_takes_bounded_time_whatever_it_holds(kind: str) -> None:
    for name, text in LONG.items():
        start = time.process_time()
        (tokens,) = tokenizer(kind).encode([text])
        assert time.process_time() - start < 6, name
        assert len(tokens.ids) <= SPECS[kind].context_length


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"vocab_size": 431}, "highest token id is 431, and the model has 431 tokens"),
        ({"context_length": 0}, "adds 1 special tokens, and the model reads 0 tokens"),
    ],
)
def test_a_tokenizer_that_does_not_fit_the_model_is_refused(change: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadTokenizer, match=complaint):
        HuggingFaceTokenizer(bundle("siglip")["tokenizer"], dataclasses.replace(SPECS["siglip"], **change))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text) | {"normalizer": {"type": "Magic"}}),
        lambda text: json.dumps(
            json.loads(text) | {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}}}
        ),
        lambda text: json.dumps(
            json.loads(text) | {"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 9}}
        ),
    ],
    ids=["cut", "empty", "unknown normalizer", "bad expression", "id beyond the vocabulary"],
)
def test_a_file_that_is_not_a_tokenizer_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(BadTokenizer, match=r"tokenizer\.json cannot be read"):
        HuggingFaceTokenizer(change(bundle("siglip")["tokenizer"]), SPECS["siglip"])


def test_padding_and_truncation_of_the_file_are_ignored() -> None:
    definition = json.loads(bundle("roberta")["tokenizer"])
    definition["truncation"] = {
        "max_length": 3,
        "stride": 0,
        "strategy": "LongestFirst",
        "direction": "Right",
    }
    definition["padding"] = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    own = HuggingFaceTokenizer(json.dumps(definition), SPECS["roberta"])
    texts = ["a dog", "a photo of a very small dog"]
    assert [row.ids.tolist() for row in own.encode(texts)] == [
        row.ids.tolist() for row in tokenizer("roberta").encode(texts)
    ]


def test_only_padding_that_the_tokenizer_did_not_make_is_left_out() -> None:
    # SigLIP's padding is its end token, and a text may spell it.
    (tokens,) = tokenizer("siglip").encode(["dog"])
    assert tokens.ids[-1] == SPECS["siglip"].pad_id
    (spelled,) = HuggingFaceTokenizer(
        bundle("siglip")["tokenizer"], dataclasses.replace(SPECS["siglip"], clean="none")
    ).encode(["dog</s></s>"])
    assert spelled.ids.tolist() == [*tokens.ids.tolist(), 1, 1]
