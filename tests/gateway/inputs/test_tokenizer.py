"""Which tokenizer a model has, and how texts are encoded without holding the event loop."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import pytest
from clipserve_gateway.errors import DeadlineExceeded, InferenceFailed, ModelLoading
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs.tokenizer import (
    encode_each,
    encode_texts,
    parts_of,
    publish,
    tokenizer_for,
    withdraw,
)
from clipserve_gateway.types import TokenizerSpec, Tokens
from hypothesis import given
from hypothesis import strategies as st

SOON = Deadline.after(1e6)
OWN = TokenizerSpec(9, kind="huggingface", sha256="b" * 64)


class Noting:
    """Notes the texts and the thread of each call."""

    safe_bytes = 0

    def __init__(self, executor: Executor | None = None) -> None:
        self.executor = executor
        self.calls: list[tuple[int, str]] = []

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        self.calls.append((len(texts), threading.current_thread().name))
        return [Tokens(np.array([len(text)], np.int32), False) for text in texts]


def test_the_gateways_own_tokenizer_has_the_models_context_and_special_tokens() -> None:
    (tokens,) = tokenizer_for(TokenizerSpec(5)).encode(["a dog and a cat"])
    assert tokens.ids.tolist() == [49406, 320, 1929, 537, 49407]
    (spelled,) = tokenizer_for(TokenizerSpec(77, special_tokens="open_clip")).encode(["<end_of_text>"])
    assert spelled.ids.tolist() == [49406, 49407, 49407]
    assert tokenizer_for(TokenizerSpec(5)) is tokenizer_for(TokenizerSpec(5))


def test_one_that_comes_from_triton_is_there_between_publish_and_withdraw() -> None:
    with pytest.raises(ModelLoading, match="tokenizer of this model is not loaded"):
        tokenizer_for(OWN)
    publish(OWN, tokenizer := Noting())
    assert tokenizer_for(OWN) is tokenizer
    withdraw(OWN)
    with pytest.raises(ModelLoading):
        tokenizer_for(OWN)


async def test_few_short_texts_are_encoded_on_the_loop_and_others_in_threads() -> None:
    tokenizer, here = Noting(), threading.current_thread().name
    await encode_texts(tokenizer, ["cat", "dog"], SOON)
    await encode_texts(tokenizer, ["x" * 2_000], SOON)
    assert [name == here for _, name in tokenizer.calls] == [True, False]


async def test_one_that_waits_for_a_process_has_its_own_thread_and_gets_part_after_part() -> None:
    with ThreadPoolExecutor(1, "own") as executor:
        tokenizer = Noting(executor)
        texts = ["x" * i for i in range(1_200)]
        tokens = await encode_texts(tokenizer, texts, SOON)
        assert [row.ids[0] for row in tokens] == list(range(1_200))
        assert sum(count for count, _ in tokenizer.calls) == 1_200
        assert len(tokenizer.calls) > 2
        assert {name for _, name in tokenizer.calls} == {"own_0"}


async def test_no_text_is_encoded_after_the_deadline() -> None:
    tokenizer = Noting()
    with pytest.raises(DeadlineExceeded):
        await encode_texts(tokenizer, ["cat"], Deadline.after(-1))
    assert not tokenizer.calls


async def test_a_text_at_which_the_tokenizer_fails_is_alone_with_its_error() -> None:
    class Failing(Noting):
        def encode(self, texts: Sequence[str]) -> list[Tokens]:
            if "poison" in texts:
                raise InferenceFailed("the tokenizer failed at this text")
            return super().encode(texts)

    texts = ["a", "poison", "bb", "ccc", "poison"]
    each = await encode_each(Failing(), texts, SOON)
    assert [row.ids[0] if isinstance(row, Tokens) else "failed" for row in each] == [
        1,
        "failed",
        2,
        3,
        "failed",
    ]


@given(st.lists(st.integers(0, 300_000) | st.integers(0, 9), max_size=30), st.integers(0, 1_500))
def test_parts_are_all_texts_in_order_none_too_large(lengths: list[int], short: int) -> None:
    texts = [range(length) for length in [*lengths, *[1] * short]]  # Anything with a length.
    parts = list(parts_of(texts))  # type: ignore[arg-type]
    assert [text for part in parts for text in part] == texts
    for part in parts:
        assert len(part) <= 512
        assert len(part) == 1 or sum(map(len, part)) <= 256 * 1024
