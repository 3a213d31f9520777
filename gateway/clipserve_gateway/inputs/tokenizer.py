"""The tokenizers of models: what they do, and where to get the one of a model."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

from clipserve_gateway.errors import ModelLoading
from clipserve_gateway.inputs.openai_tokenizer import OpenAITokenizer
from clipserve_gateway.types import TokenizerSpec, Tokens


class Tokenizer(Protocol):
    """Turns texts into token ids. All threads may use it at the same time."""

    @property
    def blocking(self) -> bool:
        """Whether `encode` waits for another process, so that the event loop must not call it."""
        ...

    @property
    def safe_bytes(self) -> int:
        """A text of at most this many bytes in UTF-8 is never truncated; 0 if there is no certain number."""
        ...

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, with the model's special tokens: int32 [n ≤ context_length].

        A longer text is cut, and its `truncated` is true. Raises ModelLoading or InferenceFailed if the
        tokenizer runs in another process and does not answer.
        """
        ...


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
