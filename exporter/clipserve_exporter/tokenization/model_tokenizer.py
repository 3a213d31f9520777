"""A model's tokenizer: what open_clip uses for it, proved to work without open_clip."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clipserve_exporter import torchvision_shim
from clipserve_exporter.errors import ExportError
from clipserve_exporter.preprocessing import is_whole
from clipserve_exporter.tokenization.bundle import pack
from clipserve_exporter.tokenization.conversion import definition_of, fast
from clipserve_exporter.tokenization.corpus import corpus
from clipserve_exporter.tokenization.folder import LoadedTokenizer, load, place_of
from clipserve_exporter.tokenization.pieces import differences
from clipserve_exporter.tokenization.proof import Reading, checks, plain_ids, require_equal
from clipserve_exporter.tokenizer_facts import OPENAI, TokenizerFacts

torchvision_shim.make_importable()

from open_clip.tokenizer import SimpleTokenizer  # noqa: E402  (needs torchvision to be importable)

LONGEST_CONTEXT = 65_536
"""Tokens. Far above the contexts of all known text towers; gateways refuse longer ones."""
CHUNK = 256
"""Texts that open_clip encodes at once."""


class Tokenize(Protocol):
    """open_clip's tokenizer."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """Texts → int64 [B, context_length]; by default the model's own length."""


@dataclass(frozen=True)
class ModelTokenizer:
    """A model's tokenizer.

    Attributes:
        bundle: what travels through Triton; empty for OpenAI's tokenizer, which is part of the gateway.
        summary: one sentence about the proof, for the report; empty for OpenAI's.
    """

    facts: TokenizerFacts
    encode: Tokenize
    bundle: bytes = b""
    summary: str = ""


def context_length_of(text_cfg: Mapping[str, Any], tower: int) -> int:
    """Returns how many tokens open_clip's tokenizer makes of each text.

    A tower of transformers accepts more positions than open_clip gives it, by default 77. Raises ExportError
    if it is not a length that gateways accept.
    """
    length = text_cfg.get("context_length", 77) if text_cfg.get("hf_tokenizer_name") else tower
    if not is_whole(length, 1, LONGEST_CONTEXT):
        raise ExportError(
            f"text_cfg has context_length {length!r}; it must be a whole number from 1 to {LONGEST_CONTEXT:,}"
        )
    return int(length)


def load_tokenizer(
    text_cfg: Mapping[str, Any], model_folder: Path | None = None, given: Path | None = None
) -> LoadedTokenizer | None:
    """Loads the tokenizer that open_clip uses for a model; None if it is OpenAI's. Raises ExportError.

    Args:
        text_cfg: of open_clip's model configuration.
        model_folder: the folder of a `local-dir:` model.
        given: the folder with the tokenizer's files that the user named.
    """
    if text_cfg.get("hf_tokenizer_name"):
        return load(text_cfg, place_of(text_cfg, model_folder, given))
    if given is not None:
        raise ExportError("the model uses OpenAI's tokenizer, which the gateway has; omit --tokenizer")
    return None


def prove(
    text_cfg: Mapping[str, Any], loaded: LoadedTokenizer | None, context_length: int, vocabulary: int
) -> ModelTokenizer:
    """Returns a model's tokenizer. Raises ExportError if the gateway could not use it as open_clip does.

    Args:
        loaded: see load_tokenizer.
        vocabulary: number of rows of the text tower's token embedding.
    """
    if loaded is None:
        return openai(context_length, vocabulary, text_cfg.get("tokenizer_kwargs") or {})
    return hugging_face(loaded, context_length, vocabulary)


def openai(context_length: int, vocabulary: int, options: Mapping[str, Any]) -> ModelTokenizer:
    """Returns OpenAI's tokenizer as open_clip has it. Raises ExportError."""
    require_plain(options, vocabulary)
    tokenizer = SimpleTokenizer(context_length=context_length)
    return ModelTokenizer(OPENAI, tokenizer)


def require_plain(options: Mapping[str, Any], vocabulary: int) -> None:
    """Raises ExportError if a model uses OpenAI's tokenizer in a way that the gateway does not."""
    if options.get("reduction_mask"):
        raise ExportError(
            f"the model's tokenizer has reduction_mask {options['reduction_mask']!r}, which drops other "
            "tokens of a long text at each call; remove it from text_cfg.tokenizer_kwargs"
        )
    changed = {name: value for name, value in options.items() if value not in (None, "", [])}
    if changed.get("clean", "lower") != "lower" or set(changed) - {"clean"}:
        raise ExportError(f"the model uses OpenAI's tokenizer with {changed}, which is not supported")
    if vocabulary < OPENAI.vocab_size:
        raise ExportError(
            f"the model uses OpenAI's tokenizer with {OPENAI.vocab_size:,} tokens, but its text tower has "
            f"embeddings for {vocabulary:,}; text_cfg must name another tokenizer in hf_tokenizer_name"
        )


def hugging_face(loaded: LoadedTokenizer, context_length: int, vocabulary: int) -> ModelTokenizer:
    """Returns a tokenizer of Hugging Face as open_clip's HFTokenizer runs it. Raises ExportError."""
    name, wrapper = str(loaded.place), loaded.wrapper
    wrapper.context_length = context_length
    slow = wrapper.tokenizer
    wrapper.tokenizer = fast(slow, name)
    require_right_side(name, wrapper.tokenizer)
    strip = sep_of(name, wrapper.tokenizer) if wrapper.strip_sep_token else None
    pad = pad_of(name, wrapper.tokenizer)
    reading = Reading(context_length, 0 if pad == strip else pad, strip)
    # NLLB's sets the token of the source language at each call.
    wrapper(["a"])
    definition = definition_of(name, wrapper.tokenizer, vocabulary)
    # What a gateway reads; parsed once, since a large one takes seconds.
    plain = Tokenizer.from_str(definition)
    by_kind = corpus_for(plain, wrapper.tokenizer)
    texts = list(dict.fromkeys(text for some in by_kind.values() for text in some))
    expected = encoded(wrapper, texts)
    if int(expected.max()) >= vocabulary:
        raise ExportError(f"the tokenizer {name} makes ids beyond the {vocabulary:,} of the text tower")
    cleaned = [wrapper.clean_fn(text) for text in texts]
    rows = plain_ids(plain, reading, cleaned)
    require_equal(name, texts, expected, rows, reading)
    facts = TokenizerFacts(
        kind="huggingface",
        sha256=hashlib.sha256(definition.encode()).hexdigest(),
        clean=loaded.clean,
        pad_id=reading.pad_id,
        strip_id=strip,
        vocab_size=vocabulary,
    )
    return ModelTokenizer(
        facts=facts,
        encode=wrapper,
        bundle=pack(definition, checks(by_kind, dict(zip(texts, rows, strict=True)))),
        summary=f"tokenizer {name}: all {len(texts):,} texts of the proof have open_clip's ids"
        + differences(loaded.place, slow, wrapper.tokenizer, cleaned)
        + ignored_language(loaded),
    )


def ignored_language(loaded: LoadedTokenizer) -> str:
    """Describes a source language that open_clip sets, and that transformers sets back at each call."""
    used = getattr(loaded.wrapper.tokenizer, "src_lang", loaded.language)
    if not loaded.language or used == loaded.language:
        return ""
    return f"; open_clip ignores the language {loaded.language} and encodes every text as {used}"


def require_right_side(name: str, tokenizer: Any) -> None:
    """Raises ExportError if texts are padded or cut on the left."""
    for key in ("padding_side", "truncation_side"):
        if getattr(tokenizer, key) != "right":
            raise ExportError(
                f"the tokenizer {name} has {key} {getattr(tokenizer, key)!r}; only 'right' is supported"
            )


def pad_of(name: str, tokenizer: Any) -> int:
    """Returns the id of the padding. Raises ExportError if there is none."""
    if tokenizer.pad_token_id is None:
        raise ExportError(f"the tokenizer {name} has no pad_token; its tokenizer_config.json must name one")
    return int(tokenizer.pad_token_id)


def sep_of(name: str, tokenizer: Any) -> int:
    """Returns the id of the separator that open_clip strips. Raises ExportError if there is none."""
    if tokenizer.sep_token_id is None:
        raise ExportError(f"the model has strip_sep_token, but the tokenizer {name} has no sep_token")
    return int(tokenizer.sep_token_id)


def corpus_for(plain: Tokenizer, tokenizer: Any) -> dict[str, list[str]]:
    """Returns the corpus with texts of a tokenizer's own tokens."""
    added = {token.content for token in plain.get_added_tokens_decoder().values()}
    ordered = sorted(plain.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    # Tokens that were left out have ids that open_clip's model does not know.
    special = [token for token in sorted(added | set(tokenizer.all_special_tokens)) if token in added]
    return corpus([token for token, _ in ordered if token not in added], special[:40])


def encoded(wrapper: Any, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Encodes texts by open_clip: int64 [texts, context_length]."""
    chunks = [wrapper(list(texts[at : at + CHUNK])) for at in range(0, len(texts), CHUNK)]
    return torch.cat(chunks).numpy()
