"""Tokenizers of every kind, trained here and proved once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from clipserve_exporter.tokenization.model_tokenizer import ModelTokenizer, load_tokenizer, prove

from testing.tokenizers import Built, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Trains a tokenizer of a kind, once."""
    return functools.cache(lambda kind: build(kind, tmp_path_factory.mktemp(kind)))


@pytest.fixture(scope="session")
def proved(built: Callable[[str], Built]) -> Callable[[str], ModelTokenizer]:
    """Makes a tokenizer of a kind ready to travel, once."""

    @functools.cache
    def make(kind: str) -> ModelTokenizer:
        text = built(kind).text_cfg
        return prove(text, load_tokenizer(text), text["context_length"], text["vocab_size"])

    return make
