"""What a model's parameters say about its inputs: how images are resized, and how texts become tokens."""

from __future__ import annotations

import re

from clipserve_gateway.triton.parameters import (
    BadModelConfig,
    TowerConfig,
    one_of,
    positive_int,
    required,
    whole_number,
)
from clipserve_gateway.types import Preprocess, TokenizerSpec

SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_SIDE = 4096
"""Pixels. Far above the inputs of all known encoders."""
LONGEST_CONTEXT = 65_536
"""Tokens. Far above the contexts of all known text encoders."""


def preprocess_of(image: TowerConfig) -> Preprocess:
    """How images are resized. Exports of schema 1 name one side, for a square."""
    height, width = (
        positive_int(image, key if key in image.parameters else "image_size", LARGEST_SIDE)
        for key in ("image_height", "image_width")
    )
    fill = whole_number(image, "fill", 255) if "fill" in image.parameters else 0
    return Preprocess(
        height,
        width,
        resize=one_of(image, "resize", "shortest", "longest", "squash"),  # type: ignore[arg-type]
        interpolation=one_of(image, "interpolation", "bicubic", "bilinear"),  # type: ignore[arg-type]
        fill=fill,
    )


def ids_of(tower: TowerConfig, key: str, tokenizer: TokenizerSpec) -> tuple[int, ...]:
    """Token ids of one text, separated by spaces. Raises BadModelConfig if they do not fit the model."""
    words = required(tower, key).split()
    if not all(re.fullmatch(r"[0-9]{1,10}", word) and int(word) < tokenizer.vocab_size for word in words):
        raise BadModelConfig(f"{tower.triton_name}: parameter {key} is not token ids of this model")
    if not 1 <= len(words) <= tokenizer.context_length:
        raise BadModelConfig(
            f"{tower.triton_name}: parameter {key} has {len(words)} ids, not 1 to {tokenizer.context_length}"
        )
    return tuple(map(int, words))


def tokenizer_of(text: TowerConfig) -> TokenizerSpec:
    """How texts become tokens. Exports of schema 1 name only OpenAI's tokenizer and the context length."""
    context = positive_int(text, "context_length", LONGEST_CONTEXT)
    if one_of(text, "tokenizer", "openai_bpe", "huggingface") == "openai_bpe":
        if context < 2:
            raise BadModelConfig(f"{text.triton_name}: parameter context_length is below 2: start and end")
        if "special_tokens" not in text.parameters:
            return TokenizerSpec(context)
        special = one_of(text, "special_tokens", "openai", "open_clip")
        return TokenizerSpec(context, special_tokens=special)  # type: ignore[arg-type]
    sha256 = required(text, "tokenizer_sha256")
    if not SHA256.fullmatch(sha256):
        raise BadModelConfig(f"{text.triton_name}: parameter tokenizer_sha256 is not 64 hex digits")
    vocabulary = positive_int(text, "vocab_size", 2**31 - 1)
    return TokenizerSpec(
        context,
        kind="huggingface",
        sha256=sha256,
        clean=one_of(text, "text_clean", "lower", "whitespace", "canonicalize", "none"),  # type: ignore[arg-type]
        pad_id=whole_number(text, "pad_id", vocabulary - 1),
        strip_id=whole_number(text, "strip_id", vocabulary - 1) if "strip_id" in text.parameters else None,
        vocab_size=vocabulary,
    )
