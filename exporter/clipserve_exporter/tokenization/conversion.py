"""Makes a self-contained tokenizer.json of a tokenizer of Hugging Face transformers."""

from __future__ import annotations

import json
import re
from typing import Any

from tokenizers import Tokenizer

from clipserve_exporter.errors import ExportError

RESERVED = re.compile(r"▁?(<[^<>\s]+>|\[[^\[\]\s]+\])")
"""Tokens that stand for no text, such as `<extra_id_7>` and `[MASK]`."""


def fast(tokenizer: Any, name: str) -> Any:
    """Returns the tokenizer, or one on `tokenizers` for SigLIP's, which runs on sentencepiece.

    The same file as T5's pieces, with an end token and padding by it, is how open_clip reads SigLIP's texts.
    """
    if type(tokenizer).__name__ != "SiglipTokenizer":
        return tokenizer
    from transformers import T5Tokenizer

    settings = {name: str(getattr(tokenizer, name)) for name in ("eos_token", "unk_token", "pad_token")}
    return T5Tokenizer.from_pretrained(name, extra_ids=0, **settings)


def definition_of(name: str, tokenizer: Any, vocabulary: int) -> str:
    """Returns the text of a tokenizer.json without truncation and padding.

    Tokens beyond the model's vocabulary are left out if they stand for no text: open_clip's model fails for
    their ids. Raises ExportError if others are beyond, or if the tokenizer does not run on `tokenizers`.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ExportError(
            f"the tokenizer {name} is a {type(tokenizer).__name__}, which does not run on the library "
            "`tokenizers`; only those that do are supported"
        )
    plain = Tokenizer.from_str(backend.to_str())
    plain.no_truncation()
    plain.no_padding()
    definition = plain.to_str()
    beyond = {token: id_ for token, id_ in plain.get_vocab().items() if id_ >= vocabulary}
    if not beyond:
        return definition
    ordinary = [token for token in beyond if not RESERVED.fullmatch(token)]
    if ordinary:
        raise ExportError(
            f"the tokenizer {name} has {plain.get_vocab_size():,} tokens, but the text tower has embeddings "
            f"for {vocabulary:,}: it belongs to another model"
        )
    return without(json.loads(definition), vocabulary)


def without(parts: dict[str, Any], vocabulary: int) -> str:
    """Returns a tokenizer.json without the tokens whose ids are not below `vocabulary`."""
    parts["added_tokens"] = [token for token in parts["added_tokens"] if token["id"] < vocabulary]
    tokens = parts["model"]["vocab"]
    if isinstance(tokens, list):
        parts["model"]["vocab"] = tokens[:vocabulary]
    else:
        parts["model"]["vocab"] = {token: id_ for token, id_ in tokens.items() if id_ < vocabulary}
    return Tokenizer.from_str(json.dumps(parts, ensure_ascii=False)).to_str()
