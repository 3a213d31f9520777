"""The tokenizers of models: what they do, and where to get the one of a model."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Protocol

from clipserve_gateway.errors import InferenceFailed, ModelLoading
from clipserve_gateway.flow.deadline import Deadline
from clipserve_gateway.inputs.openai_tokenizer import OpenAITokenizer
from clipserve_gateway.process.batches import batches
from clipserve_gateway.types import TokenizerSpec, Tokens

SHORT_TEXTS = 1024
"""Up to this many characters are tokenized on the event loop (about 0.2 ms): a thread would cost as much."""
TEXTS_AT_ONCE = 512
CHARACTERS_AT_ONCE = 256 * 1024
"""Most texts and characters of one turn at a tokenizer."""


class Tokenizer(Protocol):
    """Turns texts into token ids. All threads may use it at the same time."""

    @property
    def executor(self) -> Executor | None:
        """The thread for `encode`, which waits there for another process; None if any thread may run it, also
        the event loop's for a short text."""

    @property
    def safe_bytes(self) -> int:
        """A text of at most this many bytes in UTF-8 is never truncated; 0 if there is no certain number."""

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, with the model's special tokens: int32 [n ≤ context_length].

        A longer text is cut, and its `truncated` is true. Raises ModelLoading or InferenceFailed if the
        tokenizer runs in another process and does not answer.
        """


async def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], deadline: Deadline) -> list[Tokens]:
    """Token ids of each text; see Tokenizer. Does not hold the event loop.

    Other callers of the tokenizer get their turn after some texts. Raises DeadlineExceeded.
    """
    deadline.check("tokenize")
    if tokenizer.executor is None and sum(map(len, texts)) <= SHORT_TEXTS:
        return tokenizer.encode(texts)
    loop, tokens = asyncio.get_running_loop(), []
    for part in parts_of(texts):
        deadline.check("tokenize")
        tokens += await loop.run_in_executor(tokenizer.executor, tokenizer.encode, part)
    return tokens


async def encode_each(
    tokenizer: Tokenizer, texts: Sequence[str], deadline: Deadline
) -> list[Tokens | InferenceFailed]:
    """As encode_texts, with the error of each text at which the tokenizer fails."""
    try:
        return [*await encode_texts(tokenizer, texts, deadline)]
    except InferenceFailed as error:
        if len(texts) == 1:
            return [error]
    half = len(texts) // 2
    return [
        *await encode_each(tokenizer, texts[:half], deadline),
        *await encode_each(tokenizer, texts[half:], deadline),
    ]


def parts_of(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in parts of at most TEXTS_AT_ONCE and CHARACTERS_AT_ONCE, or of one longer text."""
    return (part for part, _ in batches(texts, len, TEXTS_AT_ONCE, CHARACTERS_AT_ONCE))


_loaded: dict[TokenizerSpec, Tokenizer] = {}
"""The tokenizers that came from Triton."""


def tokenizer_for(spec: TokenizerSpec) -> Tokenizer:
    """The tokenizer of a model; all callers share it.

    Raises ModelLoading if it comes from Triton and is not loaded. That of a model that is ready is loaded.
    """
    if spec.kind == "openai_bpe":
        return openai_tokenizer(spec)
    try:
        return _loaded[spec]
    except KeyError:
        raise ModelLoading("the tokenizer of this model is not loaded; try again in a few seconds") from None


def publish(spec: TokenizerSpec, tokenizer: Tokenizer) -> None:
    """Makes a tokenizer that came from Triton available to `tokenizer_for`."""
    _loaded[spec] = tokenizer


def withdraw(spec: TokenizerSpec) -> None:
    """Undoes `publish`."""
    _loaded.pop(spec, None)


@functools.cache
def openai_tokenizer(spec: TokenizerSpec) -> OpenAITokenizer:
    """The tokenizer that is part of the gateway."""
    return OpenAITokenizer(spec.context_length, spec.special_tokens)
